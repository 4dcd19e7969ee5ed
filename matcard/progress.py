"""How far long work over crystals is: a bar with crystals a second and time left."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.progress import Task


@contextmanager
def crystal_progress(
    console: Console, what: str, unit: str = "crystals"
) -> Iterator[Callable[[int, int | None], None]]:
    """Give a callback for `progress` of `read_crystals`, `open_graphs` and the like.

    On a screen it draws a bar, which goes away at the end. Nothing shows as long as it is not called, and nothing in a
    file or pipe.

    Args:
        console: where to.
        what: what is done to the crystals, as in "parsing".
        unit: what they are called, where they are something else.

    Yields:
        a callback that takes the crystals done and their number, which may be an estimate, or None.
    """

    class SpeedColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s", style="progress.data.speed")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), SpeedColumn())
    off = not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=off) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
