"""What the benchmarks of losses share: contenders take turns, and their least times, memory and tables."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def prepare(threads: int) -> None:
    """Set the threads, and let the process keep memory that is freed, as that of any training does.

    glibc gives large blocks back to the system at once until the process has freed one of this size; the page faults
    that follow would then be a quarter of what is measured.
    """
    torch.set_num_threads(threads)
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def best(runs: Sequence[Callable[[], object]], device: str, seconds: float, least: int = 5) -> list[float]:
    """Give the least seconds of each run; they take turns, so that a busy moment of the machine strikes all.

    On one thread of a CPU they are CPU seconds, which other processes disturb less; otherwise wall time.

    Args:
        runs: what is timed; the first call of each is not.
        device: "cpu" or "cuda".
        seconds: how long the turns go on, for each run.
        least: turns at the least.
    """
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in runs]
    start = time.perf_counter()
    while len(times[0]) < least or time.perf_counter() - start < seconds * len(runs):
        for run, found in zip(runs, times, strict=True):
            synchronize(device)
            before = clock()
            run()
            synchronize(device)
            found.append(clock() - before)
    return [min(found) for found in times]


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak(run: Callable[[], object], device: str) -> float:
    """Give the megabytes that a run needs at its height, beyond what was there before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # Linux: what is free goes back, and the high-water mark falls
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    run()
    return max(0.0, resident("VmHWM") - before)


def resident(which: str) -> float:
    return int(Path("/proc/self/status").read_text().split(f"{which}:")[1].split()[0]) / 1e3


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in markdown, each row as soon as there is one."""
    print(f"\n{title}\n\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def machine(device: str) -> str:
    """Say what the numbers were measured on."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].split(':')[1].strip()}, {torch.get_num_threads()} thread(s), PyTorch {torch.__version__}"
