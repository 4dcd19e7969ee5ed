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
_lines: dict[str, DaskWire] = {}
"""Those of the attempts that run here or wait to, by name."""
_one_at_a_time = threading.Lock()
"""Random numbers and devices belong to the process."""


class DaskWire:
    """The line of a job in a worker.

    Args:
        name: of the attempt.
        folder: of the attempt.
        topic: under which the coordinator listens.
    """

    def __init__(self, name: str, folder: Path, topic: str) -> None:
        self.folder = folder
        self.stopping = False
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._name = name
        self._topic = topic
        self._heard = True

    def ask(self, message: Any) -> Any:
        """Tell the coordinator something and wait for its answer."""
        if not self._heard:
            return None
        get_worker().log_event(self._topic, {"name": self._name, "message": message})
        try:
            return self.answers.get(timeout=ANSWER)
        except queue.Empty:
            self._heard = False  # the coordinator was killed; the next one finds the record
            return None


def work(job: Job, folder: Path, name: str, topic: str) -> None:
    """Make an attempt, heard of by its name."""
    for name_of_rank in ("RANK", "LOCAL_RANK", "SLURM_NTASKS"):
        os.environ.pop(name_of_rank, None)  # srun starts workers, too; each trains by itself
    _lines[name] = DaskWire(name, folder, topic)
    try:
        with _one_at_a_time:
            attempt(job, folder, _lines[name], alone=False)
    finally:
        del _lines[name]


def hear(name: str, answer: Any) -> None:
    """Pass an answer to the attempt that asked."""
    if name in _lines:
        _lines[name].answers.put(answer)


def stop_all(folder: str) -> None:
    """Have the attempts in a folder, and in the folders below it, stop."""
    for line in list(_lines.values()):
        line.stopping |= line.folder.is_relative_to(folder)


def sees(path: str) -> bool:
    """Tell whether a file is there."""
    return Path(path).is_file()
