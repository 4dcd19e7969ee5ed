"""The cache folder, and what is built once and kept there: arrays and rows, found by all that decides their content."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq

from matcard.errors import InputError, MatcardWarning
from matcard.files import locked, readable, written_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from jaxtyping import Shaped

    Arrays = Mapping[str, Shaped[np.ndarray, "..."]]

FORMAT = 3
"""Version of the layout of a folder; raised when what is in a cache would be misread."""
PYMATGEN = ("pymatgen", "pymatgen-core")
"""Distributions that pymatgen's code is in: all of it in the first, or since 2026 most of it in the second."""

_HEADER = "header.json"
_WHOLE_BYTES = 1 << 26
_SAMPLES = 64
_SAMPLE_BYTES = 1 << 16
_SETTLED_NS = 3_000_000_000
"""Files that changed so little time ago may change again within the resolution of their time stamps."""
_NAMES = b"matcard"


class DamagedError(InputError):
    """A folder of the cache is incomplete or was altered since it was written."""


def chosen_cache() -> Path:
    """Give the cache folder that is asked for, written to or not: MATCARD_CACHE, or else the user's cache folder."""
    return Path(os.environ.get("MATCARD_CACHE") or platformdirs.user_cache_dir("matcard"))


def cache_dir() -> Path:
    """Give the cache folder, made if need be: MATCARD_CACHE, or else the user's cache folder for matcard.

    Where it cannot be written, a warning says so and a temporary folder, removed at exit, takes its place:
    nothing is kept from one run to the next, and all else works.
    """
    folder = chosen_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        temporary = _temporary(folder)
        warnings.warn(
            f"the cache {folder} cannot be written ({error.strerror or error}), so nothing is kept for the "
            "next run; name another folder in MATCARD_CACHE",
            MatcardWarning,
            stacklevel=2,
        )
        return temporary


@functools.cache
def _temporary(replaced: Path) -> Path:
    """One temporary folder a process for each cache that cannot be written."""
    folder = Path(tempfile.mkdtemp(prefix="matcard-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def kept(
    cache: Path, decisive: Any, what: str, build: Callable[[Path], Mapping[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """Give a folder of the cache and what was noted of it; it is built first where it is not there, or damaged.

    Of several processes that call this at once one builds; the others wait, and say so. A folder is there as a whole
    or not at all. Each time, the size of every file is checked, and its sha256: of files above 64 MiB that of 64 evenly
    spaced blocks of 64 KiB, so that a change between them is not seen.

    Args:
        cache: folder of the cache.
        decisive: all that decides the content, as JSON can hold it.
        what: what is built, for messages.
        build: fills the folder that it is given, and gives what is noted.

    Raises:
        InputError: when the cache cannot be written.
    """
    key = hashlib.sha256(json.dumps([FORMAT, decisive], sort_keys=True).encode()).hexdigest()
    target = cache / key
    with suppress(FileNotFoundError, DamagedError):  # another process may be mending it: look again in our turn
        return target, _checked_header(target)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(target, f"builds {what}"):
            try:
                return target, _checked_header(target)
            except FileNotFoundError:
                pass
            except DamagedError as error:
                warnings.warn(f"{error}; {what} are built again", MatcardWarning, stacklevel=3)
                shutil.rmtree(target)
            partial = target.with_name(f"{key}.partial")
            shutil.rmtree(partial, ignore_errors=True)  # what a killed build left
            partial.mkdir()
            _write_header(partial, key, build(partial))
            partial.rename(target)
            return target, _checked_header(target)
    except OSError as error:
        raise InputError(
            f"the cache folder {cache} cannot be used ({error}); make room in it, or choose another by setting "
            "MATCARD_CACHE"
        ) from error


def map_arrays(folder: Path) -> dict[str, Any]:
    """Map all arrays of a folder."""
    # As plain arrays: indexing one is faster than indexing np.memmap, and no less lazy.
    return {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in sorted(folder.glob("*.npy"))}


def write_arrays(folder: Path, parts: Iterable[Arrays]) -> None:
    """Write arrays that `map_arrays` maps, each as its parts one after the other, with one part in memory at a time."""
    with ExitStack() as stack:
        files: dict[str, tuple[IO[bytes], np.ndarray]] = {}
        lengths: dict[str, int] = {}
        for part in parts:
            for name, array in part.items():
                if name not in files:
                    files[name] = stack.enter_context((folder / f"{name}.npy").open("wb")), array[:0]
                    _write_shape(*files[name], 0)
                file, first = files[name]
                file.write(np.ascontiguousarray(array, first.dtype).data)
                lengths[name] = lengths.get(name, 0) + len(array)
        for name, (file, first) in files.items():
            _write_shape(file, first, lengths[name])


def _write_shape(file: IO[bytes], like: np.ndarray, length: int) -> None:
    """Write the header of an .npy file, for which numpy leaves room to be written again with a greater length."""
    header = {**np.lib.format.header_data_from_array_1_0(like), "shape": (length, *like.shape[1:])}
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, header)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame with a RangeIndex; of a column of objects that parquet cannot hold, each as JSON.

    Columns may have any names, repeated ones, too.
    """
    as_json = [k for k in range(frame.shape[1]) if not _fits(frame.iloc[:, k])]
    numbered = frame.set_axis([str(k) for k in range(frame.shape[1])], axis=1)
    for k in as_json:
        numbered[str(k)] = [json.dumps(value, default=_plain) for value in frame.iloc[:, k]]
    table = pa.Table.from_pandas(numbered)
    said = json.dumps({"rows": len(frame), "names": list(frame.columns), "as_json": as_json}, default=str)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, _NAMES: said}), path)


def read_frame(path: Path) -> pd.DataFrame:
    """Read what `write_frame` wrote; missing objects are None, or NaN among floats."""
    table = pq.read_table(path)
    said = json.loads(table.schema.metadata[_NAMES])
    frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True)
    for k in said["as_json"]:
        frame[str(k)] = pd.Series([json.loads(text) for text in frame[str(k)]], frame.index, dtype=object)
    return frame.set_axis(said["names"], axis=1).set_axis(pd.RangeIndex(said["rows"]), axis=0)


def code_digest(modules: Iterable[Traversable], distributions: Iterable[str]) -> str:
    """Give the sha256 of what builds something besides its input: modules, and the versions of libraries.

    Args:
        modules: files of code, in any order, of different names.
        distributions: libraries as pip calls them; those that are not installed play no part.
    """
    sha = hashlib.sha256()
    for name in sorted(distributions):
        with suppress(PackageNotFoundError):
            sha.update(f"{name}=={version(name)}\n".encode())
    for module in sorted(modules, key=lambda module: module.name):
        sha.update(module.read_bytes())
    return sha.hexdigest()


class FilesState:
    """Files as they are now, by name, size and times.

    Args:
        files: all that a source consists of.
        memory: folder in which digests are remembered by this state. A state tells the content as reliably as
            in build tools: the time of a file's last change of any kind (ctime), which programs cannot set, is
            part of it, and what changed in the last seconds is not remembered.
    """

    def __init__(self, files: Sequence[Path], memory: Path) -> None:
        self.files = files
        self._memory = memory
        self._settled = True
        self._state = self._look()

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
        if self._settled:
            self.require_unchanged()
            with suppress(OSError), written_whole(note) as beside:  # without it the next call takes longer
                beside.write_text(sha.hexdigest(), encoding="ascii")
        return sha.hexdigest()

    def require_unchanged(self) -> None:
        """Check that the files are as they were.

        Raises:
            InputError: when one was written or removed since.
        """
        if self._look() != self._state:
            where = self.files[0] if len(self.files) == 1 else self.files[0].parent
            raise InputError(f"{where} was changed while it was read; try again when it is complete")

    def _look(self) -> str:
        with readable(self.files[0]):
            stats = [(path, path.stat()) for path in self.files]
        now = time.time_ns()
        self._settled &= all(now - max(s.st_mtime_ns, s.st_ctime_ns) > _SETTLED_NS for _, s in stats)
        seen = [[str(path.absolute()), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for path, s in stats]
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _checked_header(folder: Path) -> dict[str, Any]:
    """Give what was noted of a folder whose files are those that were written."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    try:
        content = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        whole = content.pop("sha256") == _digest(content)
        noted: dict[str, Any] = content["noted"]
        files, key = content["files"], content["key"]
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DamagedError(f"{folder}: {_HEADER} is missing or damaged ({error})") from None
    if not whole:
        raise DamagedError(f"{folder}: {_HEADER} was altered")
    if key != folder.name:
        raise DamagedError(f"{folder}: holds the content of {key}")
    for name, expected in files.items():
        try:
            found = _fingerprint(folder / name)
        except OSError as error:
            raise DamagedError(f"{folder}: {name} cannot be read ({error})") from None
        if found["bytes"] != expected["bytes"]:
            raise DamagedError(f"{folder}: {name} has {found['bytes']} bytes in place of {expected['bytes']}")
        if found["sha256"] != expected["sha256"]:
            raise DamagedError(f"{folder}: the content of {name} was altered")
    return noted


def _write_header(folder: Path, key: str, noted: Mapping[str, Any]) -> None:
    files = {path.name: _fingerprint(path) for path in sorted(folder.iterdir()) if path.name != _HEADER}
    content = {"key": key, "noted": dict(noted), "files": files}
    (folder / _HEADER).write_text(json.dumps({**content, "sha256": _digest(content)}, indent=1), encoding="utf-8")


def _fingerprint(path: Path) -> dict[str, Any]:
    """Give a file's size and its sha256, of blocks spread over the file where it is large."""
    size = path.stat().st_size
    sha = hashlib.sha256()
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            return {"bytes": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        for start in np.linspace(0, size - _SAMPLE_BYTES, _SAMPLES).astype(int).tolist():
            file.seek(start)
            sha.update(file.read(_SAMPLE_BYTES))
    return {"bytes": size, "sha256": sha.hexdigest()}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _fits(column: pd.Series[Any]) -> bool:
    """Say whether parquet can hold a column: not if it has objects of several kinds, or very large numbers."""
    if column.dtype == object and column.dropna().map(type).nunique() > 1:
        return False
    try:
        pa.array(column, from_pandas=True)
    except (ValueError, TypeError, NotImplementedError, OverflowError):  # all of pyarrow's are one of these
        return False
    return True


def _plain(value: Any) -> Any:
    """Give a scalar of numpy as one of Python, other objects as text."""
    return value.item() if hasattr(value, "item") else str(value)
