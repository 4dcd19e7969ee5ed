"""One coordinator at a time: a lock that the system takes back from the dead, and who holds it."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from matcard.errors import InputError
from matcard.training.rundir import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def held(folder: Path, option: str) -> Iterator[None]:
    """Hold the lock of a folder, made where it is missing, for the length of the block.

    Raises:
        InputError: another process holds it; or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {folder} cannot be made ({error.strerror}): name another") from error
    lock, note = FileLock(folder / ".lock"), folder / ".holder"
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = note.read_text(encoding="utf-8") if note.is_file() else "another process"
        raise InputError(
            f"{option} {folder} is at work already: {holder}. Wait for it or end it; more workers join by --jobs or "
            "--scheduler"
        ) from None
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_text(note, f"process {os.getpid()} on {socket.gethostname()}, since {since}")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()
