"""Several workers on this machine, a process each; a new one takes the place of one that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from matcard.comparison.worker import Folder, Worker
from matcard.errors import TrainingError
from matcard.training.study.workers.crew import FAREWELL, POLL, share, visible_gpus
from matcard.training.study.workers.interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

    from matcard.comparison.experiment import Experiment
    from matcard.comparison.plan import Row

MOST_DEATHS = 5
"""Workers that may be killed before the comparison gives up."""


class Crew:
    """Works on an experiment in several processes.

    Args:
        experiment: what is compared.
        folder: of the comparison.
        retried: failed attempts that are made again.
        jobs: number of processes.
    """

    def __init__(self, experiment: Experiment, folder: Folder, retried: frozenset[str], jobs: int) -> None:
        self._books = Worker(experiment, folder, retried)
        self._arguments = (experiment, folder, retried)
        self._jobs = jobs
        self._context = multiprocessing.get_context("spawn")
        self._members: dict[int, SpawnProcess] = {}
        self._deaths = 0

    def work(self, interruption: Interruption, on_round: Callable[[list[Row]], None] | None = None) -> None:
        """Work until every cell has ended; `on_round` sees all that are known now and then.

        Raises:
            KeyboardInterrupt: a signal came.
            TrainingError: workers are killed, one after another, or end by themselves.
        """
        try:
            for index in range(self._jobs):
                self._start(index)
            while self._members:
                wait([process.sentinel for process in self._members.values()], timeout=POLL)
                if interruption.requested:
                    raise KeyboardInterrupt
                self._collect()
                if on_round is not None:
                    on_round(self._books.plan.rows())
        finally:
            self._dismiss()

    def _start(self, index: int) -> None:
        environment = share(index, self._jobs, visible_gpus())
        process = self._context.Process(
            target=_work, args=(environment, *self._arguments), name=f"worker {index}", daemon=False
        )
        process.start()
        self._members[index] = process

    def _collect(self) -> None:
        for index, process in list(self._members.items()):
            if process.is_alive():
                continue
            del self._members[index]
            process.join()
            if process.exitcode == 0:
                continue
            self._deaths += 1
            if process.exitcode is None or process.exitcode > 0 or self._deaths > MOST_DEATHS:
                raise TrainingError(
                    f"{process.name} ended with code {process.exitcode}; finished cells are kept. If the system killed "
                    "it for want of memory, give fewer --jobs"
                )
            self._start(index)

    def _dismiss(self) -> None:
        for process in self._members.values():
            process.terminate()
        until = time.monotonic() + FAREWELL
        for process in self._members.values():
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._members.clear()


def _work(environment: dict[str, str], experiment: Experiment, folder: Folder, retried: frozenset[str]) -> None:
    """Work as a process of its own, whose parent hears Ctrl-C for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)  # before torch is loaded, which reads them once
    parent = multiprocessing.parent_process()
    with Interruption() as interruption:
        try:
            Worker(experiment, folder, retried).work(interruption, lambda _: _end_with(parent))
        except KeyboardInterrupt:
            os._exit(0)


def _end_with(parent: object) -> None:
    """Stop where the process that started this one has gone."""
    if parent is not None and not parent.is_alive():  # type: ignore[attr-defined]
        raise KeyboardInterrupt
