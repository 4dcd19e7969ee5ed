"""Who works on a cell: a file beside it, with marks of life, so that several machines may share a folder."""

from __future__ import annotations

import json
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from matcard.files import written_whole
from matcard.work.life import Heartbeat, is_gone, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Leases:
    """Gives each name of a folder to one worker at a time, and takes it from workers that are dead.

    A worker of this machine is looked for by its process; one of another machine is dead when its mark stands still
    for the grace period of the reader's clock.

    Args:
        folder: where the files are.
        heartbeat: how a dead worker is told from a slow one.
    """

    def __init__(self, folder: Path, heartbeat: Heartbeat | None = None) -> None:
        self._folder = folder
        self._heartbeat = heartbeat or Heartbeat()
        self._seen: dict[str, tuple[str, float]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Take a name for the length of the block; False where another worker has it."""
        token = uuid.uuid4().hex
        if not self._take(name, token):
            yield False
            return
        ended = threading.Event()
        marks = threading.Thread(target=self._mark, args=(name, token, ended), name="life marks", daemon=True)
        marks.start()
        try:
            yield True
        finally:
            ended.set()
            marks.join()
            with self._lock:
                if self._holder(name).get("token") == token:
                    self._path(name).unlink(missing_ok=True)

    @property
    def _lock(self) -> FileLock:
        return FileLock(self._folder / ".lock")

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lease"

    def _take(self, name: str, token: str) -> bool:
        with self._lock:
            if self._path(name).exists() and not self._is_dead(name, self._holder(name)):
                return False
            self._write(name, token, 0)
            return True

    def _write(self, name: str, token: str, beat: int) -> None:
        with written_whole(self._path(name)) as beside:
            beside.write_text(json.dumps({"token": token, "beat": beat, "worker": this_process()}), encoding="utf-8")

    def _holder(self, name: str) -> dict[str, Any]:
        try:
            holder = json.loads(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}

    def _is_dead(self, name: str, holder: dict[str, Any]) -> bool:
        worker = holder.get("worker")
        if worker and is_gone(worker):
            return True
        mark, now = f"{holder.get('token')} {holder.get('beat')}", time.monotonic()
        before, since = self._seen.get(name, (mark, now))
        self._seen[name] = (mark, since if mark == before else now)
        return mark == before and now - since > self._heartbeat.grace

    def _mark(self, name: str, token: str, ended: threading.Event) -> None:
        beat = 0
        while not ended.wait(self._heartbeat.interval):
            beat += 1
            try:
                with self._lock:
                    if self._holder(name).get("token") != token:
                        return  # taken for dead: whoever finishes first writes the same cell
                    self._write(name, token, beat)
            except OSError:
                continue  # the disk is away for a moment; the next mark may get through
