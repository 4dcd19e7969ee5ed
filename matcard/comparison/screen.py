"""What a comparison shows while it runs: cells done, failed, the time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from matcard.study.screen import shown_time

if TYPE_CHECKING:
    from rich.console import Console

    from matcard.comparison.plan import Row


class Screen:
    """Shows how far a comparison is: a bar on a screen, a line for each cell in a file or pipe.

    Args:
        console: what is printed to.
        total: number of cells.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._told: set[str] | None = None
        self._done_before = 0
        self._began = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("cells"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[about]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, about="")

    def __enter__(self) -> Screen:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, rows: list[Row]) -> None:
        """Show the cells that have ended since the last call."""
        ended = {row.record.get("attempt", row.cell.key): row for row in rows if row.record is not None}
        done = len({row.cell.key for row in ended.values()})
        if self._told is None:
            self._told, self._done_before = set(ended), done
            if done:
                self._say(f"{done} of {self._total} cells are there already")
        left = self._left(done)
        for attempt in [attempt for attempt in ended if attempt not in self._told]:
            self._told.add(attempt)
            row = ended[attempt]
            if row.status == "failed" or not self._console.is_terminal:
                self._say(f"{row.cell.label}: {_outcome(row)}; {done} of {self._total} cells{left}")
        failed = sum(row.status == "failed" for row in ended.values())
        about = f"{f'{failed} failed' if failed else ''}{left}".removeprefix(", ")
        self._bar.update(self._task, completed=done, about=about)

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def _left(self, done: int) -> str:
        new, left = done - self._done_before, self._total - done
        if new <= 0 or left <= 0:
            return ""
        return f", about {shown_time((time.monotonic() - self._began) / new * left)} left"


def _outcome(row: Row) -> str:
    assert row.record is not None
    if row.status == "failed":
        return f"failed: {row.record['reason']}"
    run = row.record["runs"][0]
    part = "test" if "test" in run else "val"
    return f"{'test' if part == 'test' else 'validation'} macro-F1 {run[part]['argmax']['macro_f1']:.3f}"
