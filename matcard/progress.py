"""How far long work over crystals is: a bar with crystals a second and time left, or lines in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.progress import Task

_LOG_SECONDS = 60.0
"""Seconds between the lines of a log."""


@contextmanager
def crystal_progress(
    console: Console, what: str, unit: str = "crystals"
) -> Iterator[Callable[[int, int | None], None]]:
    """Give a callback for `progress` of `read_crystals`, `open_graphs` and the like.

    On a screen it draws a bar, which goes away at the end; into a file or pipe it prints a line a minute. Nothing
    shows as long as it is not called.

    Args:
        console: where to.
        what: what is done to the crystals, as in "parsing".
        unit: what they are called, where they are something else.

    Yields:
        a callback that takes the crystals done and their number, which may be an estimate, or None.
    """
    if not console.is_terminal:
        first: tuple[float, int] | None = None
        said = 0.0

        def log(done: int, total: int | None) -> None:
            nonlocal first, said
            now = time.monotonic()
            if first is None:
                first, said = (now, done), now
            if now - said < _LOG_SECONDS:
                return
            said = now
            speed = (done - first[1]) / (now - first[0])
            line = f"{what}: {done:,}{'' if total is None else f' of {total:,}'}, {speed:,.0f} {unit}/s"
            if total is not None and speed > 0:
                line += f", {timedelta(seconds=round((total - done) / speed))} left"
            console.print(line)

        yield log
        return

    class SpeedColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s", style="progress.data.speed")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), SpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
