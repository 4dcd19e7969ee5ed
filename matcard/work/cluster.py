"""Pools of other processes, by Dask: a cluster on this machine, or the workers of a scheduler that somebody started.

Dask moves an attempt to a worker and tells when it is over; nothing else is left to it. Each attempt is bound to one
free worker, so that none waits behind another and is failed with it; what came of it is read from its folder, so that
nothing hangs on a result in a worker's memory; and how often a task is tried is counted by the coordinator.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
import uuid
import warnings
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import dask
import torch
from distributed import Client, Nanny, Scheduler, SpecCluster, get_worker

from matcard.cli import NOT_WRITABLE
from matcard.errors import InputError, TrainingError
from matcard.work.attempt import Wire, attempt
from matcard.work.folder import HOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from matcard.work.attempt import Job
    from matcard.work.pool import Answer

CONFIG = {
    "distributed.nanny.pre-spawn-environ": {},  # Dask would set them in this process, and one thread each
    "distributed.worker.daemon": False,  # so that a worker may start processes that load batches
    # A script: Ctrl-C, which a terminal sends to all processes, is the coordinator's.
    "distributed.worker.preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
    "distributed.worker.profile.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.comm.timeouts.connect": "30s",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
QUIET = {"PYTHONWARNINGS": "ignore", **{f"DASK_LOGGING__{name}": "critical" for name in ("DISTRIBUTED", "TORNADO")}}
"""What keeps Dask's log, and warnings that the coordinator has shown, off the screen in its processes."""
MOMENT = 0.5
"""Seconds between two looks at the workers."""
START = 120
"""Seconds in which a worker of this machine must have begun, or begun again."""
GONE = 20
"""Looks in a row at which a scheduler may be out of reach."""
ANSWER = 60.0
"""Seconds that a job waits for an answer; after that it asks without waiting, and takes one that comes late."""
_lines: dict[str, DaskWire] = {}
"""Those of the attempts that run here or wait to, by name."""
_one_at_a_time = threading.Lock()
"""Random numbers and devices belong to the process."""


class Cluster:
    """The workers of a scheduler.

    Args:
        client: connected to it.
        folder: of the study or comparison, which all workers must see.
        console: told what is waited for.
        grows: whether workers may come later, so that none is no failure.
    """

    def __init__(self, client: Client, folder: Path, console: Console, *, grows: bool) -> None:
        self._client = client
        self._folder = folder.resolve()
        self._console = console
        self._grows = grows
        self._topic = f"matcard-{uuid.uuid4().hex}"
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._running: dict[str, tuple[str, Any, Path]] = {}
        self._note = (self._folder / HOLDER).read_text(encoding="utf-8")
        self._looks: dict[str, Any] = {}
        self._alone_since: float | None = None
        self._missed = 0
        client.subscribe_topic(self._topic, lambda event: self._inbox.put(("message", event[1])))

    def room(self) -> int:
        """Give the number of workers that are free now."""
        return len(self._free())

    def submit(self, job: Job, folder: Path) -> bool:
        """Bind an attempt to the first free worker, and tell whether there is one."""
        if not (free := self._free()):
            return False
        address, name = free[0], uuid.uuid4().hex
        future = self._client.submit(
            work, job, folder.resolve(), name, self._topic, key=name, workers=[address], retries=0, pure=False
        )
        self._running[name] = (address, future, folder)
        future.add_done_callback(lambda _: self._inbox.put(("over", name)))
        return True

    def wait(self, answer: Answer) -> dict[Path, str]:
        """Wait a moment, answer messages, and give the attempts that are over, each with what kept it from its end.

        Raises:
            TrainingError, OSError: the scheduler is gone, or a disk is full.
        """
        over: dict[Path, str] = {}
        try:
            kind, said = self._inbox.get(timeout=MOMENT)
        except queue.Empty:
            kind, said = "nothing", None
        if kind == "over" and said in self._running:
            _, future, folder = self._running.pop(said)
            over[folder] = ""
            if future.status == "error":
                error: Exception = future.exception()
                if isinstance(error, TrainingError) or getattr(error, "errno", None) in NOT_WRITABLE:
                    raise error
                over[folder] = f"{type(error).__name__}: {error}"
        elif kind == "message" and said["name"] in self._running:
            address, _, folder = self._running[said["name"]]
            heard = answer(folder, said["message"])
            self._client.run(hear, said["name"], heard, workers=[address], on_error="ignore")
        workers = self._workers()
        for name, (address, future, folder) in list(self._running.items()):
            if workers is not None and address not in workers:
                future.cancel()
                del self._running[name]
                over[folder] = ""
        return over

    def close(self) -> None:
        """Have every attempt of this folder end soon, those of a coordinator that was killed among them."""
        for _, future, _ in self._running.values():
            future.cancel()
        with suppress(OSError, RuntimeError, AttributeError):  # without a scheduler nobody is to be told
            self._client.run(stop_all, str(self._folder), on_error="ignore")

    def _free(self) -> list[str]:
        busy = {address for address, _, _ in self._running.values()}
        workers = self._workers() or []
        usable = [address for address in workers if self._usable(address)]
        if workers:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = time.monotonic()
            if self._grows:
                self._console.print("waiting for workers; `dask worker` starts one", soft_wrap=True)
        elif not self._grows and time.monotonic() - self._alone_since > START:
            raise TrainingError(f"all workers died, and none began again within {START} seconds; give the same command")
        return [address for address in usable if address not in busy]

    def _workers(self) -> list[str] | None:
        """Give the addresses of all workers; None where the scheduler does not answer now."""
        try:
            found = list(self._client.nthreads())
        except (OSError, ValueError, RuntimeError, AttributeError) as error:  # the last two: a client has given up
            self._missed += 1
            if self._missed < GONE:
                return None
            raise TrainingError(
                f"the scheduler does not answer any more ({error}); start it and its workers anew, and give the same "
                "command"
            ) from error
        self._missed = 0
        return found

    def _usable(self, address: str) -> bool:
        """Tell whether a worker has said that it sees the folder and can write to it; nobody waits for a new one.

        Raises:
            InputError: it cannot, or has no matcard.
        """
        if address not in self._looks or self._looks[address].status in ("lost", "cancelled"):  # by a lost connection
            self._looks[address] = self._client.submit(
                look, self._folder, self._note, key=uuid.uuid4().hex, workers=[address], pure=False
            )
        found = self._looks[address]
        if found.status == "error":
            error = found.exception()
            if isinstance(error, InputError):
                raise InputError(f"worker {address} {error}")
            raise InputError(f"worker {address} cannot run matcard ({error}): install the same version there")
        return bool(found.status == "finished")


@contextmanager
def cluster_of(jobs: int, folder: Path, console: Console) -> Iterator[Cluster]:
    """Start workers on this machine, a process each with its share of the cores and a GPU where there are any.

    Raises:
        RuntimeError, TimeoutError: they do not start.
    """
    with _quiet(**threads_of(jobs), **QUIET), dask.config.set(CONFIG):
        dashboard = find_spec("bokeh") is not None
        where = {"host": "127.0.0.1", "port": 0, "dashboard": dashboard, "dashboard_address": "127.0.0.1:0"}
        scheduler = {"cls": Scheduler, "options": where}
        options, gpus = {"nthreads": 1, "memory_limit": None, "silence_logs": logging.CRITICAL}, visible_gpus()
        workers = {k: {"cls": Nanny, "options": {**options, "env": gpu_of(k, gpus)}} for k in range(jobs)}
        with ExitStack() as stack:
            with _without_ctrl_c():
                cluster = SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL)
                client = stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))
                client.wait_for_workers(jobs, timeout=START)
            if dashboard:
                console.print(f"Dask's dashboard: {client.dashboard_link}", soft_wrap=True)
            yield stack.enter_context(closing(Cluster(client, folder, console, grows=False)))


@contextmanager
def cluster_at(scheduler: str, folder: Path, console: Console) -> Iterator[Cluster]:
    """Use the workers of a running scheduler, by its address or the file that it has written.

    Raises:
        InputError: no scheduler answers there.
    """
    by_address = "://" in scheduler
    if not by_address and not Path(scheduler).is_file():
        raise InputError(f"--scheduler {scheduler}: no such file; expected tcp://host:8786 or the file of a scheduler")
    with _quiet():
        try:
            where: Any = {"address" if by_address else "scheduler_file": scheduler}
            client = Client(**where, timeout="10s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"--scheduler {scheduler}: no scheduler answers there ({error}); start one by `dask scheduler`"
            ) from error
        with client, closing(Cluster(client, folder, console, grows=True)) as pool:
            pool.close()  # what a coordinator that was killed has left at work
            yield pool


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C, which a terminal sends to all processes, from those that are started; it is heard after the block.

    Threads and processes inherit what is blocked, so that a worker does not hear it from its first moment on.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which unblocks it where it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet(**variables: str) -> Iterator[None]:
    """Keep Dask's log and the warnings of its event loop off the screen, and set variables of the environment.

    Those are for processes that are started in the block: OpenMP and Python read them once, at the start.
    """
    before = dict(os.environ)
    with ExitStack() as stack, warnings.catch_warnings():
        for logger in map(logging.getLogger, ("distributed", "distributed.client", "tornado", "asyncio")):
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", category=ResourceWarning)
        stack.callback(os.environ.update, before)
        stack.callback(os.environ.clear)
        os.environ.update(variables)
        yield


def threads_of(jobs: int) -> dict[str, str]:
    """Give the environment that says a worker's share of the cores; what the user has set stays."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {name: os.environ.get(name, str(max(1, cores // jobs))) for name in THREADS}


def gpu_of(index: int, gpus: list[str]) -> dict[str, str]:
    """Give the environment that says a worker's GPU; more workers than GPUs take them in turn."""
    return {"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} if gpus else {}


def visible_gpus() -> list[str]:
    """Name the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES does."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(index) for index in range(torch.cuda.device_count())]


class DaskWire(Wire):
    """The line of a job in a worker.

    Args:
        name: of the attempt.
        folder: of the attempt.
        topic: under which the coordinator listens.
    """

    def __init__(self, name: str, folder: Path, topic: str) -> None:
        super().__init__(self._ask)
        self.folder = folder
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._name = name
        self._topic = topic
        self._patience = ANSWER

    def _ask(self, message: Any) -> Any:
        get_worker().log_event(self._topic, {"name": self._name, "message": message})
        try:
            answer = self.answers.get(timeout=self._patience)
        except queue.Empty:
            self._patience = 0.0  # until it is heard again; of one that was killed the next finds the record
            return None
        self._patience = ANSWER
        return answer


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
        if line.folder.is_relative_to(folder):
            line.stopping = True
            line.answers.put(None)  # nobody else answers what it asks now


def look(folder: Path, note: str) -> None:
    """Look whether this process sees the folder in which the coordinator has a note, and can write to it.

    Raises:
        InputError: it does not.
    """
    advice = f"{folder}: all machines must share the directory by the same path, and write to it"
    try:
        seen = (folder / HOLDER).read_text(encoding="utf-8") == note
    except OSError:
        seen = False
    if not seen:
        raise InputError(f"does not see {advice}")
    try:
        NamedTemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"cannot write ({error.strerror}) to {advice}") from error
