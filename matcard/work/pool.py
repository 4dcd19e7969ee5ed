"""Where tasks run: what the coordinator knows of it, and the pool that is this process itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from matcard.work.attempt import DirectWire, attempt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matcard.work.attempt import Job
    from matcard.work.interruption import Interruption

    Answer = Callable[[Path, Any], Any]
    """Gives the coordinator's answer to a message of the attempt in a folder."""


class Pool(Protocol):
    """Workers that make attempts, one each at a time; an attempt is known by its folder."""

    def room(self) -> int:
        """Give the number of workers that are free now."""

    def submit(self, job: Job, folder: Path) -> None:
        """Have a free worker make an attempt."""

    def wait(self, answer: Answer) -> list[Path]:
        """Wait a moment; give the attempts that are over, whether they ended or their worker died.

        Raises:
            KeyboardInterrupt: a signal came while this process itself was at work.
            TrainingError: there are no workers any more, and none will come.
        """


class Inline:
    """This process, which works while it waits.

    Args:
        interruption: breaks off what runs.
    """

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._next: tuple[Job, Path] | None = None

    def room(self) -> int:
        """One, or none."""
        return 0 if self._next else 1

    def submit(self, job: Job, folder: Path) -> None:
        """Remember it."""
        self._next = (job, folder)

    def wait(self, answer: Answer) -> list[Path]:
        """Make the attempt.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        assert self._next is not None, "only what was submitted is waited for"
        (job, folder), self._next = self._next, None
        with self._interruption.allowed():
            attempt(job, folder, DirectWire(lambda message: answer(folder, message)), alone=True)
        return [folder]
