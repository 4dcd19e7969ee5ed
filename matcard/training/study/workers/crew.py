"""Several workers on this machine: a process each, with its share of the cores and a GPU where there are any."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from optuna import logging

from matcard.errors import InputError, TrainingError
from matcard.training.study.storage.opening import storage_opened
from matcard.training.study.storage.outage import patiently
from matcard.training.study.workers.interruption import Interruption
from matcard.training.study.workers.worker import FAILURES_PER_TRIAL, FIRST_FAILURES, Plan, Stop, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

POLL = 0.5
"""Seconds between two looks at the workers and their study."""
FAREWELL = 30.0
"""Seconds that interrupted workers have to put their books in order."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Crew:
    """Runs the trials of a plan in several processes and puts a new one in the place of one that is killed."""

    def __init__(self, plan: Plan, storage: BaseStorage, jobs: int) -> None:
        self.plan = plan
        self.jobs = jobs
        self._books = Worker(plan, storage)
        self._context = multiprocessing.get_context("spawn")
        self._shares = [share(index, jobs, visible_gpus()) for index in range(jobs)]
        self._members: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._deaths = 0

    def work(self, interruption: Interruption, on_round: Callable[[list[FrozenTrial]], None]) -> Stop:
        """Run trials until all workers have stopped, and give their reason; `on_round` sees all trials now and then.

        Raises:
            KeyboardInterrupt: a signal came; the trials that ran are put back in line.
            InputError, TrainingError: a worker met one.
        """
        self._books.queue.open()
        stop: Stop = "done"
        try:
            for index in range(self.jobs):
                self._start(index)
            while self._members:
                wait([process.sentinel for process, _ in self._members.values()], timeout=POLL)
                if interruption.requested:
                    raise KeyboardInterrupt
                stop = self._collect() or stop
                on_round(patiently(self._books.look, interruption))
        finally:
            self._dismiss()
            self._books.look()
        return stop

    def _start(self, index: int) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(self.plan, theirs), name=f"worker {index}")
        with _environment(self._shares[index]), _interrupts_ignored():
            process.start()
        theirs.close()
        self._members[index] = (process, ours)

    def _collect(self) -> Stop | None:
        """Hear the last words of the workers that have ended and replace those that were killed."""
        stop: Stop | None = None
        for index, (process, connection) in list(self._members.items()):
            if process.is_alive():
                continue
            del self._members[index]
            process.join()
            last = _last_word(connection)
            if isinstance(last, Exception):
                raise last
            if last is not None:
                stop = last
            elif process.exitcode is not None and process.exitcode < 0:
                self._replace(index, process.exitcode)
            else:
                raise TrainingError(f"{process.name} ended with code {process.exitcode}; its traceback stands above")
        return stop

    def _replace(self, index: int, exitcode: int) -> None:
        self._deaths += 1
        if self._deaths > max(FIRST_FAILURES, FAILURES_PER_TRIAL * self.plan.total):
            raise TrainingError(
                f"workers were killed {self._deaths} times, at last by signal {-exitcode}: if by the system for want "
                "of memory, give fewer --jobs, a smaller batch or smaller models"
            )
        self._start(index)

    def _dismiss(self) -> None:
        """End the workers that are still there: first by a signal on which they put their trials back in line."""
        for process, _ in self._members.values():
            process.terminate()
        until = time.monotonic() + FAREWELL
        for process, connection in self._members.values():
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()
        self._members.clear()


def share(index: int, jobs: int, gpus: list[str]) -> dict[str, str]:
    """Give the environment of one of several workers: its share of the cores, and one of the GPUs in turn."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment = {name: os.environ.get(name, str(max(1, cores // jobs))) for name in THREADS}
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
    return environment


def visible_gpus() -> list[str]:
    """Name the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES does."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _work(plan: Plan, connection: Connection) -> None:
    """Work as a process of its own, and tell the parent how it ended."""
    logging.set_verbosity(logging.WARNING)
    with Interruption() as interruption:
        try:
            with storage_opened(plan.url, plan.folder, plan.heartbeat) as storage:
                connection.send(Worker(plan, storage).work(interruption, lambda _: None))
        except (InputError, TrainingError) as error:
            connection.send(error)
        except KeyboardInterrupt:
            pass  # the parent sent the signal and says what is kept


def _last_word(connection: Connection) -> Stop | Exception | None:
    with connection:
        try:
            word: Stop | Exception | None = connection.recv() if connection.poll() else None
        except EOFError:
            return None
        return word


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for processes started in the block: OpenMP and CUDA read them once, when they are loaded."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes started in the block ignore Ctrl-C, which a terminal sends to all: the parent tells them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
