"""Graphs built once for given crystals and options, and found again by their content."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from matcard.crystals.graphs import iter_chunks
from matcard.crystals.store_writer import StoreWriter
from matcard.crystals.stored import FORMAT, DamagedStoreError, StoredGraphs, read_store
from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matcard.crystals.options import GraphOptions
    from matcard.crystals.table import Crystals

_BLOCK_ROWS = 1 << 20


def open_store(
    crystals: Crystals,
    options: GraphOptions,
    folder: Path,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> StoredGraphs:
    """Open the graphs of `crystals` in the cache `folder`; build them there first if they are not in it.

    Several processes may call this at once: one builds, the others wait. Building takes memory for a few
    chunks of crystals, and goes on where it was killed. A damaged store is built again, with a warning.

    Args:
        crystals: validated table of structures; their ids play no part.
        options: radius, number of neighbours, ties.
        folder: cache; each store is a folder in it, named by the sha256 of all that decides its content.
        jobs: processes to build with; -1 for all cores.
        progress: called with the crystals done and their number after each chunk.

    Raises:
        InputError: when the cache cannot be written.
    """
    key = store_key(crystals, options)
    target = folder / key
    try:
        return read_store(target, key)
    except (FileNotFoundError, DamagedStoreError):
        pass  # Another process may be mending it: look again once it is our turn.
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{key}.lock"):
            return _read_or_build(crystals, options, target, jobs, progress)
    except OSError as error:
        raise InputError(
            f"the cache folder {folder} cannot be used ({error}); make room in it, or choose another by "
            "setting MATCARD_CACHE"
        ) from error


def store_key(crystals: Crystals, options: GraphOptions) -> str:
    """Give the sha256 of the structures, the options and the code that makes graphs of them."""
    sha = hashlib.sha256(json.dumps([FORMAT, asdict(options)], sort_keys=True).encode())
    for module in ("neighbors.py", "graphs.py"):
        sha.update(files("matcard.crystals").joinpath(module).read_bytes())
    for array, dtype in (
        (crystals.lattice, "<f8"),
        (crystals.offsets, "<i8"),
        (crystals.numbers, "<u1"),
        (crystals.frac_coords, "<f8"),
    ):
        sha.update(str(array.shape).encode())
        for start in range(0, len(array), _BLOCK_ROWS):
            sha.update(np.ascontiguousarray(array[start : start + _BLOCK_ROWS], dtype=dtype).data)
    return sha.hexdigest()


def _read_or_build(
    crystals: Crystals,
    options: GraphOptions,
    target: Path,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> StoredGraphs:
    try:
        return read_store(target, target.name)
    except FileNotFoundError:
        pass
    except DamagedStoreError as error:
        warnings.warn(f"{error}; the graphs are built again", MatcardWarning, stacklevel=3)
        shutil.rmtree(target)
    writer = StoreWriter(target.with_name(f"{target.name}.partial"))
    for part, done in iter_chunks(crystals, options, start=writer.crystals, jobs=jobs):
        writer.append(part)
        if progress is not None:
            progress(done, len(crystals))
    writer.finish(target, {"key": target.name, "options": asdict(options)})
    return read_store(target, target.name)
