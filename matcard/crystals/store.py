"""Graphs built once for given crystals and options, and found again by their content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING

from matcard.crystals.array_writer import ArrayWriter
from matcard.crystals.arrays import FORMAT
from matcard.crystals.built_once import built_once
from matcard.crystals.code_digest import PYMATGEN, code_digest
from matcard.crystals.graphs import iter_chunks
from matcard.crystals.stored import LAYOUT, StoredGraphs, read_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matcard.crystals.crystals import Crystals
    from matcard.crystals.options import GraphOptions

_CODE = ("neighbors.py", "graphs.py")


def open_store(
    crystals: Crystals,
    options: GraphOptions,
    folder: Path,
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> StoredGraphs:
    """Open the graphs of `crystals` in the cache `folder`; build them there first if they are not in it.

    Several processes may call this at once: one builds, the others wait. Building takes memory for a few
    chunks of crystals, and goes on where it was killed. A damaged store is built again, with a warning.

    Args:
        crystals: validated table of structures; their ids play no part.
        options: radius, number of neighbours, ties.
        folder: cache; each store is a folder in it, named by the sha256 of all that decides its content.
        jobs: processes to build with, as in joblib: -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says.
        progress: called with the crystals done and their number at the start and after each chunk.

    Raises:
        InputError: when the cache cannot be written.
    """
    key = store_key(crystals, options)
    target = folder / key

    def build() -> None:
        writer = ArrayWriter(target.with_name(f"{key}.partial"), LAYOUT)
        start = writer.rows["isolated"]
        if progress is not None:
            progress(start, len(crystals))
        for part, done in iter_chunks(crystals, options, start=start, jobs=jobs):
            writer.append({name: getattr(part, name) for name in LAYOUT.empty})
            if progress is not None:
                progress(done, len(crystals))
        writer.finish(target, {"key": key, "options": asdict(options)})

    return built_once(target, f"the graphs of {len(crystals)} crystals", lambda: read_store(target, key), build)


def store_key(crystals: Crystals, options: GraphOptions) -> str:
    """Give the sha256 of the structures, the options, and the code and library that make graphs of them."""
    code = code_digest(map(files("matcard.crystals").joinpath, _CODE), PYMATGEN)
    decisive = [FORMAT, asdict(options), code, crystals.content_digest()]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
