"""What is shown while tasks run: how many are done, the best so far, the time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console


class Screen:
    """A bar on a screen; in a file or pipe a line for each task that ends.

    Args:
        console: what is printed to.
        unit: what tasks are called, such as `trials`.
        total: number of tasks.
        done: those that are done already.
    """

    def __init__(self, console: Console, unit: str, total: int, done: int = 0) -> None:
        self._console = console
        self._unit = unit
        self._total = total
        self._before = done
        self._began = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn(unit),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[about]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=done, about="")
        if done:
            self._say(f"{done} of {total} {unit} are there already")

    def __enter__(self) -> Screen:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def ended(self, text: str, done: int, *, failed: bool = False, best: str = "") -> None:
        """Show a task that has ended.

        Args:
            text: what it was and how it ended.
            done: tasks that are done now.
            failed: whether it has failed, which is told on a screen, too.
            best: the best so far.
        """
        left = self._left(done)
        best = f"best so far: {best}" if best else ""
        self._bar.update(self._task, completed=done, about=", ".join(filter(None, (best, left))))
        if failed or not self._console.is_terminal:
            progress = ", ".join(filter(None, (f"{done} of {self._total} {self._unit}", left)))
            self._say("; ".join(filter(None, (text, best, progress))))

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def _left(self, done: int) -> str:
        """Give the time for the tasks to come, each as long as those since the beginning took, side by side."""
        new, left = done - self._before, self._total - done
        if new <= 0 or left <= 0:
            return ""
        return f"about {shown_time((time.monotonic() - self._began) / new * left)} left"


def shown_time(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
