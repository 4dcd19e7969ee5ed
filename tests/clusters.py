"""A scheduler and workers as a user starts them, and waiting for what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def wait_for(what: Any, seconds: float = 180.0) -> None:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)


@contextmanager
def running_cluster(folder: Path, *, workers: int) -> Iterator[str]:
    """Start a scheduler and its workers as a user does; gives the path of the scheduler's file."""
    file = folder / "scheduler.json"
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests / "work"), os.environ.get("PYTHONPATH", str(tests.parent))])
    environment = {**os.environ, "PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "critical"}
    dask = [sys.executable, "-m", "dask"]
    near = ["--host", "127.0.0.1", "--no-dashboard"]
    commands = [
        [*dask, "scheduler", "--scheduler-file", str(file), "--port", "0", *near],
        [*dask, "worker", "--scheduler-file", str(file), "--nworkers", str(workers), "--nthreads", "1", *near],
    ]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            processes.append(subprocess.Popen(command, cwd=folder, env=environment))
            wait_for(file.exists)
        yield str(file)
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(60)


def workers_of(folder: Path) -> Iterator[int]:
    """Give the process numbers of Dask's workers that were started in a folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words, cwd = path.read_bytes().split(b"\0"), path.with_name("cwd").resolve()
        except OSError:
            continue
        if b"spawn_main" in b" ".join(words) and cwd == folder:
            yield int(path.parent.name)
