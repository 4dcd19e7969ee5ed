"""Studies in a journal file: safe for several processes on one machine and on NFS, and no server is needed."""

from __future__ import annotations

import json
import os
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from matcard.errors import InputError
from matcard.work.life import is_gone, this_process

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage

STALE = 60.0
"""Seconds after which a lock that one holder has kept is broken, where its process cannot be looked for."""
LONGEST_PAUSE = 0.5


def open_journal(path: Path) -> BaseStorage:
    """Open a journal file, made with its folder where it is missing.

    Raises:
        InputError: it cannot be written, or is something else.
    """
    # Resolved, so that a later change of the working directory is no change of the file.
    path = path.expanduser().resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_lock(path)))
    except OSError as error:
        raise InputError(f"--storage: the journal file {path} cannot be used ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(
            f"--storage: {path} is no journal of an Optuna study, or a damaged one{_damage(path)}; name another "
            "file, or mend a copy of it by leaving out what is damaged"
        ) from error


def _damage(path: Path) -> str:
    """Name the first line that is no record."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            json.loads(line)
        except ValueError:
            return f" (line {number} is no record)"
    return ""


def _lock(path: Path) -> Any:
    # On Windows not every user may make symbolic links, and processes cannot be looked for.
    return JournalFileOpenLock(str(path)) if os.name == "nt" else JournalLock(path)


class JournalLock:
    """A lock beside a journal file: a symbolic link, which also NFS makes for one process only, that names its holder.

    Optuna's own lock waits half a minute for each holder that was killed; this one sees a dead process on this machine
    at once. Under it half a record, left by a killed process, is cut off: the next record would else be glued to it,
    and nobody could read the journal from there on.
    """

    def __init__(self, path: Path) -> None:
        self._journal = path
        self._link = path.with_name(path.name + ".lock")

    def acquire(self) -> bool:
        """Wait for the lock and mend the file."""
        mine = json.dumps(this_process() | {"token": uuid.uuid4().hex})
        pause = 0.001
        seen, since = "", 0.0
        while not self._made(mine):
            holder, now = self._holder(), time.monotonic()
            if holder != seen:
                seen, since = holder, now
            elif holder and (_is_dead(holder) or now - since > STALE):
                self._break(holder)
                seen = ""
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        try:
            cut_half_record(self._journal)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._link.unlink(missing_ok=True)

    def _made(self, mine: str) -> bool:
        try:
            self._link.symlink_to(mine)
        except FileExistsError:
            return False
        return True

    def _holder(self) -> str:
        try:
            return str(self._link.readlink())
        except OSError:
            return ""  # given back meanwhile

    def _break(self, holder: str) -> None:
        """Remove a lock, which of all that wait for it one may do, and only while it is still that holder's."""
        right = self._link.with_name(f"{self._link.name}.{uuid.uuid5(uuid.NAMESPACE_URL, holder).hex}")
        try:
            right.symlink_to(holder)
        except FileExistsError:
            # Another is at it, or was killed at it: then the next to wait so long has the right.
            with suppress(FileNotFoundError):
                if time.time() - right.lstat().st_mtime > STALE:
                    right.unlink()
            return
        if self._holder() == holder:
            self._link.unlink(missing_ok=True)
        right.unlink(missing_ok=True)


def _is_dead(holder: str) -> bool:
    try:
        return is_gone(json.loads(holder))
    except ValueError:
        return False  # Optuna's own lock, as its dashboard uses it, names no process


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
