"""The coordinator: what may begin is given to free workers, and what has ended is recorded, by this process alone."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from matcard.training.rundir import write_text
from matcard.work.attempt import DIED, STOPPED, Attempt, attempts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from matcard.work.attempt import Job, Record
    from matcard.work.interruption import Interruption
    from matcard.work.pool import Pool

MOST_DEATHS = 2
"""A task whose worker died so often has failed."""
KILLED = (
    f"its worker died {MOST_DEATHS} times; if the system killed it for want of memory, give fewer --jobs, a smaller "
    "batch or a smaller model"
)


@dataclass(frozen=True)
class Item:
    """A task: something to be done once.

    Attributes:
        key: names it among all, and its folder.
        job: what is done.
    """

    key: str
    job: Job


class Agenda(Protocol):
    """What there is to be done; a study, a comparison."""

    def next(self, running: Collection[str]) -> Item | None:
        """Give a task that may begin, none of those that run; None where there is none now.

        A task is given until it has ended; of those that are over without an end it is given again.
        """

    def heard(self, key: str, message: Any) -> Any:
        """Answer a message of a running task."""

    def ended(self, key: str, record: Record, folder: Path | None) -> None:
        """Record how a task ended; what it wrote lies in a folder that is deleted after this, unless moved."""


def next_step(made: Sequence[Attempt]) -> Attempt | int | None:
    """Decide on a task by the attempts at it.

    Returns:
        An attempt that ended, to be recorded; or the number of the one to be made; None where workers died too often.
    """
    for one in made:
        if one.record is not None:
            return one
    if sum(one.died for one in made) >= MOST_DEATHS:
        return None
    return max((one.number for one in made), default=0) + 1


def conduct(agenda: Agenda, pool: Pool, folder: Path, interruption: Interruption) -> None:
    """Have everything on an agenda done.

    Args:
        agenda: what is to be done; it records what has ended.
        pool: who does it.
        folder: for the attempts, a folder a task; all workers see it.
        interruption: asked between two steps.

    Raises:
        KeyboardInterrupt: a signal came; attempts that ran are gone on with another time.
        TrainingError: the pool has no workers any more.
    """
    running: dict[Path, Item] = {}

    def answer(attempt: Path, message: Any) -> Any:
        return agenda.heard(running[attempt].key, message) if attempt in running else None

    try:
        pending: Item | None = None
        while not interruption.requested:
            room = pool.room()
            if pending is None and (room or not running):
                pending = agenda.next({task.key for task in running.values()})
            if pending is not None and room:
                if begun := _begin(agenda, pending, pool, folder):
                    running[begun] = pending
                pending = None
                continue
            if pending is None and not running:
                with suppress(OSError):
                    folder.rmdir()
                return
            for over in pool.wait(answer):
                if over in running:
                    _look(agenda, running.pop(over), over)
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        for attempt in running:
            if attempt.is_dir():
                write_text(attempt / STOPPED, "")
        raise


def _begin(agenda: Agenda, task: Item, pool: Pool, folder: Path) -> Path | None:
    """Submit an attempt and give its folder; None where the task has an end already, which is recorded."""
    of_task = folder / task.key
    step = next_step(attempts(of_task))
    if isinstance(step, int):
        pool.submit(task.job, of_task / str(step))
        return of_task / str(step)
    if step is None:
        _record(agenda, task, {"status": "failed", "reason": KILLED, "attempt": None}, of_task, None)
    else:
        assert step.record is not None
        _record(agenda, task, step.record, of_task, of_task / str(step.number))
    return None


def _look(agenda: Agenda, task: Item, attempt: Path) -> None:
    """Record the end of a task where there is one; else its worker has died, which is noted."""
    step = next_step(attempts(attempt.parent))
    if isinstance(step, Attempt) and step.record is not None:
        _record(agenda, task, step.record, attempt.parent, attempt.parent / str(step.number))
    elif not (attempt / STOPPED).exists():
        write_text(attempt / DIED, "")


def _record(agenda: Agenda, task: Item, record: Record, of_task: Path, attempt: Path | None) -> None:
    agenda.ended(task.key, record, attempt)
    shutil.rmtree(of_task, ignore_errors=True)
