"""What is shown while tasks run: how many are done, the best so far, the time left."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.console import Console


class Screen(Progress):
    """A bar on a screen; in a file or pipe a line for each task that ends.

    Args:
        console: what is printed to.
        unit: what tasks are called, such as `trials`.
        total: number of tasks.
        done: those that are done already.
    """

    def __init__(self, console: Console, unit: str, total: int, done: int = 0) -> None:
        about = TextColumn("{task.fields[about]}")
        columns = (SpinnerColumn(), TextColumn(unit), BarColumn(), MofNCompleteColumn(), about, TimeElapsedColumn())
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._unit = unit
        self._total = total
        self._before = done
        self._began = time.monotonic()
        self._bar = self.add_task("", total=total, completed=done, about="")
        if done:
            say(console, f"{done} of {total} {unit} are there already")

    def ended(self, text: str, done: int, *, failed: bool = False, best: str = "") -> None:
        """Show a task that has ended.

        Args:
            text: what it was and how it ended.
            done: tasks that are done now.
            failed: whether it has failed, which is told on a screen, too.
            best: the best so far.
        """
        new, left, time_left = done - self._before, self._total - done, ""
        if new > 0 and left > 0:
            # Those to come take as long as those since the beginning took, side by side.
            seconds = (time.monotonic() - self._began) / new * left
            time_left = f"about {timedelta(seconds=round(seconds))} left"
        best = f"best so far: {best}" if best else ""
        self.update(self._bar, completed=done, about=", ".join(filter(None, (best, time_left))))
        if failed or not self.console.is_terminal:
            progress = ", ".join(filter(None, (f"{done} of {self._total} {self._unit}", time_left)))
            say(self.console, "; ".join(filter(None, (text, best, progress))))


def say(console: Console, text: str) -> None:
    """Print a text as it is."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)
