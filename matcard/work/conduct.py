"""The coordinator: what may begin is given to free workers, and what has ended is recorded, by this process alone.

Ctrl-C, and the SIGTERM that SLURM sends, break off the work, not the books.
"""

from __future__ import annotations

import shutil
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from matcard.training.rundir import RunDir, write_text
from matcard.work.attempt import BEGUN, DIED, LONGEST_REASON, STOPPED, attempts, read_record, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from matcard.work.attempt import Job, Record
    from matcard.work.cluster import Cluster
    from matcard.work.pool import Inline

MOST_DEATHS = 2
"""A task whose worker died so often in vain has failed."""
KILLED = (
    f"the process that trained it died {MOST_DEATHS} times, each time before another epoch was finished; if the system "
    "killed it for want of memory, give fewer --jobs, a smaller batch or a smaller model"
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3
"""So many signals end the process whatever it does."""


class Interruption:
    """Holds signals back, except inside `allowed`, until whoever works here has put its books in order."""

    def __init__(self) -> None:
        self.requested = 0  # signals that have come
        self._inside = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        # Only the main thread gets signals; a process that ignores one (a child, for Ctrl-C) goes on doing so.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let a signal break off the block by a KeyboardInterrupt."""
        self._inside = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._inside = False

    def _handle(self, number: int, frame: object) -> None:
        self.requested += 1
        # A second signal, from a process group or an impatient user, must not break what the first one has begun.
        if (self._inside and self.requested == 1) or self.requested >= _PATIENCE:
            raise KeyboardInterrupt


class Agenda(Protocol):
    """What there is to be done; a study, a comparison."""

    def next(self, running: Collection[str]) -> tuple[str, Job] | None:
        """Give a task that may begin, none of those that run; None where there is none now.

        A task is a key, which names it among all and its folder, and what is done. It is given until it has ended, and
        again where an attempt is over without an end.
        """

    def heard(self, key: str, message: Any) -> Any:
        """Answer a message of a running task."""
        return None

    def ended(self, key: str, record: Record, folder: Path | None) -> None:
        """Record how a task ended; what it wrote lies in a folder that is deleted after this, unless moved."""


def conduct(agenda: Agenda, pool: Callable[[], Inline | Cluster], folder: Path, interruption: Interruption) -> None:
    """Have everything on an agenda done.

    Args:
        agenda: what is to be done; it records what has ended.
        pool: gives who does it, and is not asked where there is nothing to do.
        folder: for the attempts, a folder a task; all workers see it.
        interruption: asked between two steps.

    Raises:
        KeyboardInterrupt: a signal came; attempts that ran are gone on with another time.
        TrainingError: the pool has no workers any more.
    """
    running: dict[Path, str] = {}  # the attempts, and the keys of their tasks
    task: tuple[str, Job] | None = None  # what is to begin next; it waits for a worker

    def answer(attempt: Path, message: Any) -> Any:
        return agenda.heard(running[attempt], message) if attempt in running else None

    try:
        while not interruption.requested:
            if task is None and (not running or pool().room()):
                task = agenda.next(set(running.values()))
            if task is None and not running:
                with suppress(OSError):  # another agenda's attempts may lie there, to be gone on with
                    folder.rmdir()
                return
            if task is not None:
                key, job = task
                attempt = next_attempt(agenda, key, folder / key)
                if attempt is None or pool().submit(job, attempt):
                    if attempt is not None:
                        running[attempt] = key
                    task = None
                    continue
            for over, why in pool().wait(answer).items():
                # A worker that ended neither the task nor, as it was told, this attempt at it has died. An attempt that
                # it had not begun, behind one of another study, is as good as stopped.
                was = running.pop(over, None)
                if was and next_attempt(agenda, was, over.parent) and not (over / STOPPED).exists():
                    write_text(over / (DIED if why or (over / BEGUN).exists() else STOPPED), why)
        raise KeyboardInterrupt
    except BaseException:  # whatever ends this process: nobody died of the task
        for left in running:
            with suppress(OSError):  # it was not begun, or the disk is full
                (left / STOPPED).touch()
        raise


def next_attempt(agenda: Agenda, key: str, folder: Path) -> Path | None:
    """Give the folder of the attempt to be made at a task; None where the task has ended, which is recorded.

    An attempt that ended is the outcome, whatever else there is. One that was stopped, whose coordinator was killed, or
    that finished an epoch before its worker died, is nobody's fault.

    Args:
        agenda: records the end.
        key: of the task.
        folder: of the attempts at it.
    """
    made = attempts(folder)
    ended = next((one for one in made if read_record(one) is not None), None)
    died = [one for one in made if died_in_vain(one)]
    if ended is None and len(died) < MOST_DEATHS:
        return folder / str(1 + int(made[-1].name) if made else 1)
    if (record := read_record(ended) if ended else None) is None:
        reason = (died[-1] / DIED).read_text(encoding="utf-8")[:LONGEST_REASON] or KILLED
        record = {"status": "failed", "reason": reason, "attempt": None}
    agenda.ended(key, record, ended)
    shutil.rmtree(folder, ignore_errors=True)
    return None


def died_in_vain(attempt: Path) -> bool:
    """Tell whether the worker of an attempt died before it had finished an epoch, or a training, of its own."""
    if not (attempt / DIED).exists() or (attempt / STOPPED).exists():
        return False
    begun = attempt / BEGUN  # written after what earlier attempts left was copied, as old as it is
    left = [*attempt.rglob(RunDir(attempt).last.name), *attempt.rglob("*.npz")] if begun.exists() else []
    return all(path.stat().st_mtime_ns <= begun.stat().st_mtime_ns for path in left)


class Jobs(Agenda):
    """Jobs by the folder in which what they write is kept, where they end well; what is there already is done.

    Args:
        jobs: in the order in which they begin.
        say: told how each has ended.
    """

    def __init__(self, jobs: Mapping[Path, Job], say: Callable[[str], None]) -> None:
        self._places = {f"{place.parent.name}-{place.name}": place for place in jobs if read_record(place) is None}
        self._jobs = jobs
        self._say = say

    def next(self, running: Collection[str]) -> tuple[str, Job] | None:
        """Give the first that is left."""
        left = ((key, self._jobs[place]) for key, place in self._places.items() if key not in running)
        return next(left, None)

    def ended(self, key: str, record: Record, folder: Path | None) -> None:
        """Keep what was written."""
        place = self._places.pop(key)
        if record["status"] == "finished" and folder is not None:
            settle(folder, place)
        self._say(f"{place.name}: {record.get('reason', 'trained')}")
