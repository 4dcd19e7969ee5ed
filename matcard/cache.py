"""The cache folder, and what is built once and kept there: arrays and rows, found by all that decides their content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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
from matcard.files import locked, readable

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
_NAMES = b"matcard"


class DamagedError(InputError):
    """A folder of the cache is incomplete or was altered since it was written."""


def cache_dir() -> Path:
    """Give the cache folder, which need not exist: MATCARD_CACHE, or else the user's cache folder for matcard."""
    return Path(os.environ.get("MATCARD_CACHE") or platformdirs.user_cache_dir("matcard"))


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
            noted = dict(build(partial))
            content = {
                "key": key,
                "noted": noted,
                "files": {path.name: _fingerprint(path) for path in partial.iterdir()},
            }
            header = json.dumps({**content, "sha256": _digest(content)}, indent=1)
            (partial / _HEADER).write_text(header, encoding="utf-8")
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


def files_digest(files: Sequence[Path]) -> str:
    """Give the sha256 of the names and contents of all files that a source consists of.

    Raises:
        InputError: one cannot be read.
    """
    sha = hashlib.sha256()
    for path in files:
        with readable(path), path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        sha.update(json.dumps([path.name, content]).encode())
    return sha.hexdigest()


def _checked_header(folder: Path) -> dict[str, Any]:
    """Give what was noted of a folder whose files are those that were written."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    try:
        content = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        whole = content.pop("sha256") == _digest(content) and content["key"] == folder.name
        altered = [name for name, written in content["files"].items() if _fingerprint(folder / name) != written]
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DamagedError(f"{folder}: a file is missing or damaged ({error})") from None
    if altered or not whole:
        raise DamagedError(f"{folder}: the content of {', '.join(altered) or _HEADER} was altered")
    noted: dict[str, Any] = content["noted"]
    return noted


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
