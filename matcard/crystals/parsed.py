"""Crystals parsed once for a given source, and found again by its content."""

from __future__ import annotations

import hashlib
import json
import warnings
from contextlib import contextmanager
from dataclasses import fields
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.array_writer import ArrayWriter
from matcard.crystals.arrays import FORMAT, Layout, read_arrays
from matcard.crystals.built_once import built_once
from matcard.crystals.code_digest import PYMATGEN, code_digest
from matcard.crystals.crystals import EMPTY, Crystals, offsets_from_counts
from matcard.crystals.frame_files import read_frame, write_frame
from matcard.crystals.readers.batch import Wanted
from matcard.crystals.readers.check import Reading, checked
from matcard.crystals.readers.columns import require_column
from matcard.crystals.readers.folder import label_columns
from matcard.crystals.readers.read import open_source, stack
from matcard.crystals.readers.structure_file import is_structure_file
from matcard.crystals.source import SourceState
from matcard.crystals.table import CrystalTable
from matcard.errors import MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Int64, Shaped, UInt8

LAYOUT = Layout(
    {
        "lattice": EMPTY.lattice,
        "offsets": EMPTY.offsets,
        "numbers": EMPTY.numbers,
        "frac_coords": EMPTY.frac_coords,
        "rows": np.empty(0, np.int64),
        "id_text": np.empty(0, np.uint8),
        "id_offsets": np.zeros(1, np.int64),
    },
    offsets={"offsets": "numbers", "id_offsets": "id_text"},
)

# Who parses, checks and writes, besides the readers, is part of what decides the result.
_PARSERS = ("ase", *PYMATGEN)
_CODE = ("validate.py", "parsed.py", "frame_files.py", "table.py")


def open_crystals(
    source: str | Path,
    folder: Path,
    *,
    id_column: str | None = None,
    structure_column: str | None = None,
    target: str | None = None,
    labels_needed: bool = True,
    jobs: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> CrystalTable:
    """Read a source like `matcard.crystals.read_crystals`, but parse it only once: the result is kept on disk.

    Structures are memory-mapped; ids and columns are in memory. Several processes may call this at once: one
    parses, the others wait. Parsing holds a few thousand rows in memory at a time, and goes on where it was
    killed. What is damaged on disk is parsed again, with a warning.

    Args:
        source: as in `read_crystals`.
        folder: cache; a folder in it is named by the sha256 of all that decides the result: the content and
            names of the source's files, the columns asked for, the readers' code and the parsers' versions.
        id_column: as in `read_crystals`.
        structure_column: as in `read_crystals`.
        target: as in `read_crystals`; another column of the same source is not parsed anew.
        labels_needed: as in `read_crystals`.
        jobs: as in `read_crystals`.
        progress: as in `read_crystals`; not called where nothing is parsed.

    Raises:
        InputError: when the source as a whole, or the cache, cannot be used.
    """
    wanted = Wanted(id_column, structure_column, target, labels_needed)
    state = SourceState(source, folder / "digests")
    key = _key(source, wanted, state.digest())
    place = folder / key

    def build() -> None:
        _parse(source, wanted, place, jobs, progress, state)

    table, reading = built_once(place, f"the parsed crystals of {source}", lambda: _read(place, key), build)
    reading.warn(str(source))
    if target is not None:
        require_column(target, table.columns.columns, str(source), "target")
    return table


def _key(source: str | Path, wanted: Wanted, digest: str) -> str:
    path = Path(source).expanduser()
    # The target plays a part only where a folder's labels have no header.
    labels = label_columns(path, wanted) if path.is_dir() else None
    is_table = path.is_file() and not is_structure_file(path)
    decisive = {
        "format": FORMAT,
        "code": _code(),
        "digest": digest,
        # A table's ending chooses the reader; single files are named in full where they are left out.
        "name": path.name if is_table or labels else str(source),
        "columns": [wanted.id_column, wanted.structure_column],
        "labels": labels,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _code() -> str:
    package = files("matcard.crystals")
    modules = [*(package.joinpath(name) for name in _CODE), *package.joinpath("readers").iterdir()]
    return code_digest((module for module in modules if module.name.endswith(".py")), _PARSERS)


def _parse(
    source: str | Path,
    wanted: Wanted,
    place: Path,
    jobs: int | None,
    progress: Callable[[int, int | None], None] | None,
    state: SourceState,
) -> None:
    writer = ArrayWriter(place.with_name(f"{place.name}.partial"), LAYOUT)
    reading = Reading(**writer.note)
    ids = _each_id(writer.written("id_text"), writer.written("id_offsets"))
    reading.seen.add(zip(ids, map(int, writer.written("rows")), strict=True))
    with _kept_warnings() as reading.warnings:
        piece = reading.batches
        for table in checked(open_source(source, wanted), str(source), jobs, progress, reading):
            write_frame(table.columns, writer.folder / _columns(piece))
            write_frame(table.left_out, writer.folder / _left_out(piece))
            writer.append(_arrays(table), _note(reading))
            piece = reading.batches
    state.require_unchanged()
    writer.finish(place, {"key": place.name, "source": str(source), "reading": _note(reading)})


def _read(place: Path, key: str) -> tuple[CrystalTable, Reading]:
    arrays, header = read_arrays(place, LAYOUT, key)
    reading = Reading(**header["reading"])
    crystals = Crystals(
        _ids(arrays["id_text"], arrays["id_offsets"]),
        arrays["lattice"],
        arrays["offsets"],
        arrays["numbers"],
        arrays["frac_coords"],
    )
    columns = stack([read_frame(place / _columns(k)) for k in range(reading.batches)])
    left_out = stack([read_frame(place / _left_out(k)) for k in range(reading.batches)])
    return CrystalTable(crystals, columns, left_out, arrays["rows"]), reading


@contextmanager
def _kept_warnings() -> Iterator[list[str]]:
    """Give a list that holds, at the end, what matcard warned of; it is to be told whenever the result is opened."""
    kept: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MatcardWarning)
        yield kept
    for warning in caught:
        if issubclass(warning.category, MatcardWarning):
            kept.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _columns(piece: int) -> str:
    return f"columns-{piece:06}.parquet"


def _left_out(piece: int) -> str:
    return f"left_out-{piece:06}.parquet"


def _note(reading: Reading) -> dict[str, Any]:
    """Give what is kept of it; the rows of ids stand in the arrays."""
    return {f.name: getattr(reading, f.name) for f in fields(reading) if f.name != "seen"}


def _arrays(table: CrystalTable) -> dict[str, np.ndarray]:
    crystals = table.crystals
    text = [name.encode("utf-8", "surrogatepass") for name in crystals.ids]
    assert table.rows is not None  # crystals that were read have them
    return {
        "lattice": crystals.lattice,
        "offsets": crystals.offsets,
        "numbers": crystals.numbers,
        "frac_coords": crystals.frac_coords,
        "rows": table.rows,
        "id_text": np.frombuffer(b"".join(text), np.uint8),
        "id_offsets": offsets_from_counts(np.array([len(name) for name in text], dtype=np.int64)),
    }


def _ids(text: UInt8[np.ndarray, " T"], offsets: Int64[np.ndarray, " N+1"]) -> Shaped[np.ndarray, " N"]:
    ids = np.empty(len(offsets) - 1, dtype=object)
    ids[:] = list(_each_id(text, offsets))
    return ids


def _each_id(text: UInt8[np.ndarray, " T"], offsets: Int64[np.ndarray, " N+1"]) -> Iterator[str]:
    """Give one id after the other, so that not all need be in memory."""
    view = text.data
    return (str(view[first:last], "utf-8", "surrogatepass") for first, last in pairwise(map(int, offsets)))
