"""What a source consists of on disk, and the sha256 of its content."""

from __future__ import annotations

import glob
import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path

from matcard.crystals.readers.files import readable, require_file
from matcard.errors import InputError
from matcard.files import written_whole

# Files that changed so little time ago may change again within the resolution of their time stamps.
_SETTLED_NS = 3_000_000_000


def source_exists(source: str | Path) -> bool:
    """Say whether `source` is a file, a folder, or a pattern that some file fits."""
    return Path(source).expanduser().exists() or bool(matching_files(source))


def matching_files(source: str | Path) -> list[Path]:
    """Give what fits a pattern such as `new/*.cif`, sorted; nothing where `source` is no pattern."""
    if not glob.has_magic(str(source)):
        return []
    return [Path(name) for name in sorted(glob.glob(str(Path(source).expanduser())))]  # noqa: PTH207


def source_files(source: str | Path) -> list[Path]:
    """Give the files that a source consists of, sorted: one, those of a folder, or those that fit a pattern.

    Raises:
        InputError: when there is nothing there.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    if not path.exists() and glob.has_magic(str(source)):
        return matching_files(source)
    require_file(path)
    return [path]


class SourceState:
    """The files of a source as they are now, by name, size and times.

    Args:
        source: what readers are given.
        memory: folder in which digests are remembered by this state. A state tells the content as reliably as
            in build tools: the time of a file's last change of any kind (ctime), which programs cannot set, is
            part of it, and what changed in the last seconds is not remembered.

    Raises:
        InputError: when there is nothing there.
    """

    def __init__(self, source: str | Path, memory: Path) -> None:
        self.source = source
        self.files = source_files(source)
        with readable(Path(source)):
            stats = [(path, path.stat()) for path in self.files]
        seen = [[str(path.absolute()), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for path, s in stats]
        self._settled = all(time.time_ns() - max(s.st_mtime_ns, s.st_ctime_ns) > _SETTLED_NS for _, s in stats)
        self._state = hashlib.sha256(json.dumps(seen).encode()).hexdigest()
        self._memory = memory

    def digest(self) -> str:
        """Give the sha256 of the names and contents of all files, remembered from an earlier call if there was one."""
        note = self._memory / self._state
        if self._settled and note.is_file():
            return note.read_text(encoding="ascii")
        sha = hashlib.sha256()
        for path in self.files:
            with readable(path), path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            sha.update(json.dumps([path.name, content]).encode())
        digest = sha.hexdigest()
        if self._settled:
            self.require_unchanged()
            with suppress(OSError), written_whole(note) as beside:  # without it the next call takes longer
                beside.write_text(digest, encoding="ascii")
        return digest

    def require_unchanged(self) -> None:
        """Check that the source is as it was.

        Raises:
            InputError: when a file was written, added or removed since.
        """
        if SourceState(self.source, self._memory)._state != self._state:
            raise InputError(f"{self.source} was changed while it was read; try again when it is complete")
