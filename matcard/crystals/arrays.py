"""Flat arrays on disk: a folder with one `.npy` file an array and a header that tells whether all is whole."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 2
"""Version of the layout of such a folder; raised when an older reader would misread it."""

HEADER = "header.json"

_WHOLE_BYTES = 1 << 26
_SAMPLES = 64
_SAMPLE_BYTES = 1 << 16


class Layout(NamedTuple):
    """Which arrays a folder holds."""

    empty: Mapping[str, np.ndarray]
    """Name of each array -> that array of nothing: its type, its shape, and the 0 that offsets begin with."""
    offsets: Mapping[str, str]
    """Name of an array of offsets -> name of the array that they count the rows of."""


class DamagedStoreError(InputError):
    """A folder is incomplete or was altered since it was written."""


def read_arrays(folder: Path, layout: Layout, key: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Map the arrays in `folder`, after a check that takes well under a second, and give the header, too.

    The header must fit its own checksum, each file the size and the checksum in the header. The checksum of a
    file above 64 MiB covers 64 evenly spaced blocks of 64 KiB, so a change between them is not seen.

    Args:
        folder: where the files are.
        layout: which arrays are expected.
        key: sha256 of all that decides the content that is expected, if that is known.

    Raises:
        FileNotFoundError: when there is no such folder.
        DamagedStoreError: when something in it is missing, cut off or altered; the message says what.
    """
    header = _read_header(folder)
    if key is not None and header["key"] != key:
        raise DamagedStoreError(f"{folder}: holds the content of {header['key']} in place of {key}")
    for name, expected in header["files"].items():
        try:
            found = fingerprint(folder / name)
        except OSError as error:
            raise DamagedStoreError(f"{folder}: {name} cannot be read ({error})") from None
        if found["bytes"] != expected["bytes"]:
            raise DamagedStoreError(f"{folder}: {name} has {found['bytes']} bytes in place of {expected['bytes']}")
        if found["sha256"] != expected["sha256"]:
            raise DamagedStoreError(f"{folder}: the content of {name} was altered")
    return map_arrays(folder, layout), header


def map_arrays(folder: Path, layout: Layout) -> dict[str, np.ndarray]:
    """Map the arrays in `folder` without any check."""
    # As plain arrays: indexing one is faster than indexing np.memmap, and no less lazy.
    return {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in layout.empty}


def write_header(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the header of the finished `folder`: `content`, format, fingerprints of all files but JSON."""
    files = {path.name: fingerprint(path) for path in sorted(folder.iterdir()) if path.suffix != ".json"}
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


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
