"""Several processes on this machine: each with its share of the cores and a GPU where there are any."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from matcard.cli import show_warning
from matcard.errors import InputError, TrainingError
from matcard.work.interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

POLL = 0.5
"""Seconds between two looks at the processes and their work."""
FAREWELL = 30.0
"""Seconds that interrupted workers have to put their books in order."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Word = TypeVar("Word")
"""How a worker says that it has come to an end."""


class Processes(Generic[Word]):
    """Does the same work in several processes and puts a new one in the place of one that is killed.

    Args:
        work: what each does, picklable; it gives how it has ended, or raises KeyboardInterrupt.
        jobs: number of processes.
        most_deaths: processes that may be killed before there are no more put in their place.
    """

    def __init__(self, work: Callable[[Interruption], Word], jobs: int, most_deaths: int) -> None:
        self._work = work
        self._most_deaths = most_deaths
        self._context = multiprocessing.get_context("spawn")
        self._shares = [share(index, jobs, visible_gpus()) for index in range(jobs)]
        self._members: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._words: list[Word] = []
        self._deaths = 0

    def run(self, interruption: Interruption, on_round: Callable[[], None]) -> list[Word]:
        """Work until all have ended, and give their words; `on_round` is called now and then.

        Raises:
            KeyboardInterrupt: a signal came.
            InputError, TrainingError: a worker met one, ended by itself, or one after another was killed.
        """
        try:
            for index in range(len(self._shares)):
                self._start(index)
            while self._members:
                wait([process.sentinel for process, _ in self._members.values()], timeout=POLL)
                if interruption.requested:
                    raise KeyboardInterrupt
                self._collect()
                on_round()
        finally:
            self._dismiss()
        return self._words

    def _start(self, index: int) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(self._work, theirs), name=f"worker {index}")
        with _environment(self._shares[index]), _interrupts_ignored():
            process.start()
        theirs.close()
        self._members[index] = (process, ours)

    def _collect(self) -> None:
        """Hear the last words of the workers that have ended and replace those that were killed."""
        for index, (process, connection) in list(self._members.items()):
            if process.is_alive():
                continue
            del self._members[index]
            process.join()
            last = _last_word(connection)
            if isinstance(last, Exception):
                raise last
            if last is not None:
                self._words.append(last)
            elif process.exitcode is not None and process.exitcode <= 0:
                # 0: it put its books in order first, on a SIGTERM that was not ours (some guards of memory send one).
                self._replace(index, -process.exitcode or signal.SIGTERM)
            else:
                raise TrainingError(f"{process.name} ended with code {process.exitcode}; its traceback stands above")

    def _replace(self, index: int, number: int) -> None:
        self._deaths += 1
        if self._deaths > self._most_deaths:
            raise TrainingError(
                f"workers were killed {self._deaths} times, at last by signal {number:d}: if by the system for want "
                "of memory, give fewer --jobs, a smaller batch or smaller models"
            )
        self._start(index)

    def _dismiss(self) -> None:
        """End the workers that are still there: first by a signal on which they put their books in order."""
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


def _work(work: Callable[[Interruption], Word], connection: Connection) -> None:
    """Work as a process of its own, and tell the parent how it ended."""
    warnings.showwarning = show_warning
    with Interruption() as interruption:
        try:
            connection.send(work(interruption))
        except (InputError, TrainingError) as error:
            connection.send(error)
        except KeyboardInterrupt:
            pass  # the parent sent the signal and says what is kept


def _last_word(connection: Connection) -> Any:
    """Give the word or the error of a process that has ended; None where it left neither."""
    with connection:
        try:
            return connection.recv() if connection.poll() else None
        except EOFError:
            return None


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
