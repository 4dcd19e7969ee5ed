"""Studies in a journal file: safe for several processes on one machine and on NFS, and no server is needed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from matcard.errors import InputError

# Both are safe on NFS; on Windows not every user may make symbolic links.
if sys.platform == "win32":
    from optuna.storages.journal import JournalFileOpenLock as JournalFileLock
else:
    from optuna.storages.journal import JournalFileSymlinkLock as JournalFileLock

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage


def open_journal(path: Path) -> BaseStorage:
    """Open a journal file, made with its folder where it is missing.

    Raises:
        InputError: it cannot be written, or is something else.
    """
    # Resolved, since the lock is a link beside the file, and one to a relative path would point nowhere: then Optuna
    # never sees that a lock is stale.
    path = path.expanduser().resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=MendingLock(path)))
    except OSError as error:
        raise InputError(f"--storage: the journal file {path} cannot be used ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(f"--storage: {path} is no journal of an Optuna study; name another file") from error


class MendingLock(JournalFileLock):
    """Optuna's lock of a journal file; under it, half a record left by a killed process is cut off.

    The next record would else be glued to the half one, and no process could read the journal from there on.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock and mend the file."""
        held = super().acquire()
        cut_half_record(self._path)
        return held


def cut_half_record(path: Path) -> None:
    """Cut off what stands behind a file's last end of line, if anything does."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
