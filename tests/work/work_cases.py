"""Jobs that play at work, and an agenda of them; processes of their own import them from here."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from matcard.files import written_whole
from matcard.work import attempt
from matcard.work.attempt import PrunedError, StoppedError

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.work.attempt import Job, Record, Wire


@dataclass(frozen=True)
class Steps:
    """Takes some steps, noting each in a file of all attempts and in its own folder, and goes on from there.

    Attributes:
        log: folder in which every step that is taken leaves a file.
        name: of the task.
        count: number of steps.
        seconds: for each.
        deaths: how many attempts kill their process, at the step `at`.
        at: see `deaths`; `count` is right after the record was written.
    """

    log: Path
    name: str
    count: int = 3
    seconds: float = 0.0
    deaths: int = 0
    at: int = 1

    def __call__(self, folder: Path, line: Wire) -> Record:
        if self.at == self.count and not list(self.log.glob(f"{self.name}-died-*")):
            self.die_with_record()
        done = folder / "done"
        begin = int(done.read_text()) if done.exists() else 0
        for step in range(begin, self.count):
            if step == self.at and len(list(self.log.glob(f"{self.name}-died-*"))) < self.deaths:
                (self.log / f"{self.name}-died-{time.monotonic_ns()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            until = time.monotonic() + self.seconds
            while time.monotonic() < until or (self.log / f"{self.name}-waits").exists():
                if line.stopping:
                    raise StoppedError
                time.sleep(0.01)
            (self.log / f"{self.name}-{step}-{time.monotonic_ns()}").touch()
            with written_whole(done) as beside:
                beside.write_text(str(step + 1))
            if line.ask({"step": step}):
                raise PrunedError
        return {"value": self.count, "pid": os.getpid(), "from": begin}

    def die_with_record(self) -> None:
        """Have this process die as soon as it has written the record."""
        write = attempt.to_json

        def write_and_die(value: Any, path: Path) -> None:
            write(value, path)
            if path.name == attempt.RECORD:
                (self.log / f"{self.name}-died-{time.monotonic_ns()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)

        attempt.to_json = write_and_die


@dataclass(frozen=True)
class Fails:
    """Raises something."""

    error: BaseException

    def __call__(self, folder: Path, line: Wire) -> Record:
        raise self.error


@dataclass
class Listed:
    """An agenda of jobs by name; keeps what it is told."""

    jobs: dict[str, Any]
    records: dict[str, Record] = field(default_factory=dict)
    messages: list[tuple[str, Any]] = field(default_factory=list)
    pruned: set[str] = field(default_factory=set)

    def next(self, running: Any) -> tuple[str, Job] | None:
        left = [name for name in self.jobs if name not in self.records and name not in running]
        return (left[0], self.jobs[left[0]]) if left else None

    def heard(self, key: str, message: Any) -> bool:
        self.messages.append((key, message))
        return key in self.pruned

    def ended(self, key: str, record: Record, folder: Path | None) -> None:
        assert key not in self.records, "once"
        self.records[key] = record


def steps_of(log: Path, name: str) -> list[int]:
    """Give the steps that were taken of a task, by whichever attempts, in order."""
    taken = sorted(log.glob(f"{name}-[0-9]*-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    return [int(path.name.split("-")[1]) for path in taken]
