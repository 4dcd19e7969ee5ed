"""Graphs on disk: one `.npy` file an array and a header that tells whether they are whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.graphs import Graphs
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMAT = 1
"""Version of the layout of a store; raised when an older reader would misread it."""

HEADER = "header.json"

ARRAYS = tuple(field.name for field in fields(Graphs))

_WHOLE_BYTES = 1 << 26
_SAMPLES = 64
_SAMPLE_BYTES = 1 << 16


class DamagedStoreError(InputError):
    """A store is incomplete or was altered since it was written."""


@dataclass(frozen=True, eq=False)
class StoredGraphs(Graphs):
    """Graphs whose arrays are memory-mapped files, read where they are used.

    Pickled (for the worker of a `DataLoader`, say) as the name of the folder, whatever their size.
    """

    folder: Path
    """Where the files are."""

    def __reduce__(self) -> tuple[Callable[..., StoredGraphs], tuple[Any, ...]]:
        return _map, (self.folder,)


def read_store(folder: Path, key: str | None = None) -> StoredGraphs:
    """Open the graphs in `folder`, after a check that takes well under a second.

    The header must fit its own checksum, each file the size and the checksum in the header. The checksum of a
    file above 64 MiB covers 64 evenly spaced blocks of 64 KiB, so a change between them is not seen.

    Args:
        folder: the store.
        key: what `matcard.crystals.store.store_key` gives for the content that is expected, if that is known.

    Raises:
        FileNotFoundError: when there is no such folder.
        DamagedStoreError: when something in it is missing, cut off or altered; the message says what.
    """
    header = _read_header(folder)
    if key is not None and header["key"] != key:
        raise DamagedStoreError(f"{folder}: holds the graphs of {header['key']} in place of {key}")
    for name in ARRAYS:
        expected = header["files"][name]
        try:
            found = fingerprint(folder / f"{name}.npy")
        except OSError as error:
            raise DamagedStoreError(f"{folder}: {name}.npy cannot be read ({error})") from None
        if found["bytes"] != expected["bytes"]:
            raise DamagedStoreError(f"{folder}: {name}.npy has {found['bytes']} bytes in place of {expected['bytes']}")
        if found["sha256"] != expected["sha256"]:
            raise DamagedStoreError(f"{folder}: the content of {name}.npy was altered")
    return _map(folder)


def write_header(folder: Path, content: dict[str, Any]) -> None:
    """Write the header of the finished store `folder`: `content`, format, fingerprints of all files."""
    files = {name: fingerprint(folder / f"{name}.npy") for name in ARRAYS}
    content = {"format": FORMAT, **content, "files": files}
    text = json.dumps({**content, "sha256": _digest(content)}, indent=1)
    (folder / HEADER).write_text(text, encoding="utf-8")


def fingerprint(path: Path) -> dict[str, Any]:
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


def _read_header(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no store {folder}")
    try:
        content = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        digest = content.pop("sha256")
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DamagedStoreError(f"{folder}: {HEADER} is missing or damaged ({error})") from None
    if digest != _digest(content):
        raise DamagedStoreError(f"{folder}: {HEADER} was altered")
    if content["format"] != FORMAT:
        raise DamagedStoreError(f"{folder}: format {content['format']}, this version of matcard reads {FORMAT}")
    return dict(content)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _map(folder: Path) -> StoredGraphs:
    return StoredGraphs(**{name: _map_array(folder / f"{name}.npy") for name in ARRAYS}, folder=folder)


def _map_array(path: Path) -> np.ndarray:
    # As a plain array: indexing one is faster than indexing np.memmap, and no less lazy.
    return np.asarray(np.load(path, mmap_mode="r"))
