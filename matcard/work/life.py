"""Whether a worker is alive: its process on this machine, its marks of life on another."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from matcard.errors import InputError


@dataclass(frozen=True)
class Heartbeat:
    """How a dead worker is told from a slow one."""

    interval: int = 15
    """Seconds between two marks of life of a running piece of work."""
    grace: int = 120
    """Seconds without a mark after which a worker on another machine is taken for dead."""

    @classmethod
    def within(cls, grace: int) -> Heartbeat:
        """Give the marks that go with a grace period: eight in it, as often as each second at most."""
        return cls(max(1, grace // 8), grace)

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise InputError(f"heartbeat interval {self.interval}: expected 1 second or more")
        if self.grace < 2 * self.interval:
            raise InputError(
                f"heartbeat grace {self.grace}: expected at least twice the interval of {self.interval} seconds, so "
                "that a late mark is no death"
            )


def this_process() -> dict[str, Any]:
    """Say who runs this, so that others on this machine can look whether the process is still there."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "machine": _machine(), "pid": pid, "started": _start_time(pid)}


def is_gone(worker: dict[str, Any]) -> bool:
    """Tell whether a process was of this machine and is no more; False where that cannot be known."""
    if os.name != "posix" or worker["machine"] != _machine():
        return False
    try:
        os.kill(worker["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return bool(_start_time(worker["pid"]) != worker["started"])


@cache
def _machine() -> str:
    """Name the running system, and the namespace in which its process numbers hold (a container has its own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{socket.gethostname()}:{uuid.getnode():x}"


def _start_time(pid: int) -> int | None:
    """Give the start of a process in ticks since boot, where the system tells it; None for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
