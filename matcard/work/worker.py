"""What workers of a cluster do: attempts, one at a time, and hearing what the coordinator says to them."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import get_worker

from matcard.work.attempt import attempt

if TYPE_CHECKING:
    from matcard.work.attempt import Job

ANSWER = 60.0
"""Seconds that a job waits for an answer; after that nobody is there to hear it, and it does not ask again."""
_boxes: dict[str, queue.SimpleQueue[tuple[int, Any]]] = {}
"""Answers by the name of the attempt."""
_stopped: set[str] = set()
"""Names of attempts that are to stop."""
_folders: dict[str, str] = {}
"""Folders of the attempts that run here."""
_one_at_a_time = threading.Lock()
"""Random numbers and devices belong to the process."""


class DaskWire:
    """The line of a job in a worker.

    Args:
        name: of the attempt.
        topic: under which the coordinator listens.
    """

    def __init__(self, name: str, topic: str) -> None:
        self._name = name
        self._topic = topic
        self._number = 0
        self._heard = True

    @property
    def stopping(self) -> bool:
        """Whether the attempt is to end now."""
        return self._name in _stopped

    def ask(self, message: Any) -> Any:
        """Tell the coordinator something and wait for its answer."""
        if not self._heard:
            return None
        self._number += 1
        get_worker().log_event(self._topic, {"name": self._name, "number": self._number, "message": message})
        try:
            while True:
                number, answer = _boxes[self._name].get(timeout=ANSWER)
                if number == self._number:
                    return answer
        except queue.Empty:
            self._heard = False  # the coordinator was killed; the next one finds the record
            return None


def work(job: Job, folder: Path, name: str, topic: str) -> None:
    """Make an attempt, heard of by its name."""
    for name_of_rank in ("RANK", "LOCAL_RANK", "SLURM_NTASKS"):
        os.environ.pop(name_of_rank, None)  # srun starts workers, too; each trains by itself
    with _one_at_a_time:
        _boxes[name], _folders[name] = queue.SimpleQueue(), str(folder)
        try:
            attempt(job, folder, DaskWire(name, topic), alone=False)
        finally:
            _stopped.discard(name)
            del _boxes[name], _folders[name]


def hear(name: str, number: int, answer: Any) -> None:
    """Pass an answer to the attempt that asked."""
    if name in _boxes:
        _boxes[name].put((number, answer))


def stop_all(folder: str) -> None:
    """Have the attempts in a folder, and in the folders below it, stop."""
    _stopped.update(name for name, of_attempt in _folders.items() if Path(of_attempt).is_relative_to(folder))


def sees(path: str) -> bool:
    """Tell whether a file is there."""
    return Path(path).is_file()
