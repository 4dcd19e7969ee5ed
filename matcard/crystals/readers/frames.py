"""Files of many frames through ASE: extended XYZ, ASE databases, trajectories; labels in `info`."""

from __future__ import annotations

import io
import re
import sqlite3
import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any

from matcard.crystals.readers.batch import ID_COLUMNS, Batch, Wanted
from matcard.crystals.readers.columns import as_ids, require_column, scalars
from matcard.crystals.readers.decode import from_ase
from matcard.crystals.readers.files import CHUNK, estimate_rows, readable
from matcard.crystals.readers.raw import StructureError
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ase import Atoms

    Frame = tuple[Atoms | StructureError, Mapping[str, Any], int | None]

_NO_LABELS = re.compile(r"\b(?:Lattice|stress|virial|Properties|pbc)\s*=")
"""What is of a frame and no label; ASE refuses the whole line where a matrix is malformed."""


def frame_batches(path: Path, wanted: Wanted) -> Iterator[Batch]:
    """Read all frames of a file that ASE knows."""
    suffix = path.suffix.lower()
    if suffix == ".db":
        frames = _database(path)
    elif suffix in (".xyz", ".extxyz"):
        frames = _extended_xyz(path)
    else:
        frames = _any(path)
    return batches(frames, f"{path.name} frame", wanted)


def batches(frames: Iterator[Frame], name: str, wanted: Wanted) -> Iterator[Batch]:
    """Give frames with their scalar labels as columns; `name` is what stands before a frame's number.

    A frame comes with its labels and with how many there are in all, which may be an estimate or None.
    """
    import pandas as pd

    start = 1
    while chunk := list(islice(frames, CHUNK)):
        rows = range(start, start + len(chunk))
        columns = scalars(pd.DataFrame([dict(info) for _, info, _ in chunk], index=rows, dtype=object))
        if wanted.id_column is not None:
            require_column(wanted.id_column, columns.columns, name.split()[0], "id_column")
        column = wanted.id_column or next((c for c in ID_COLUMNS if c in columns), None)
        yield Batch(
            ids=[str(k) for k in rows] if column is None else as_ids(columns[column]),
            rows=rows,
            where=lambda row: f"{name} {row}",
            columns=columns.drop(columns=[] if column is None else [column]).reset_index(drop=True),
            payloads=[atoms for atoms, _, _ in chunk],
            decode=from_ase,
            total=chunk[-1][2],
        )
        start += len(chunk)


def labels(atoms: Atoms) -> dict[str, Any]:
    """Give what a frame says of itself: `info`, and results such as the energy that ASE keeps apart."""
    return {**(atoms.calc.results if atoms.calc is not None else {}), **atoms.info}


def _extended_xyz(path: Path) -> Iterator[Frame]:
    """Read frame by frame, so that a malformed one is left out alone."""
    with readable(path), path.open(encoding="utf-8") as file:
        frame = 0
        while line := file.readline():
            if not line.strip():
                continue
            frame += 1
            if not line.strip().isdigit():
                raise InputError(f"{path} frame {frame} begins with {line.strip()!r}; a number of atoms was expected")
            rest = list(islice(file, int(line) + 1))
            if len(rest) < int(line) + 1:
                raise InputError(f"{path} ends in the middle of frame {frame}; is the file complete?")
            yield *_xyz_frame(line + "".join(rest), rest[0]), estimate_rows(file.buffer, path, frame)


def _xyz_frame(text: str, comment: str) -> tuple[Atoms | StructureError, Mapping[str, Any]]:
    from ase.io import extxyz

    try:
        (atoms,) = extxyz.read_xyz(io.StringIO(text), index=slice(None))
    except Exception as error:  # whatever a malformed frame makes of the parser
        said = f"malformed frame ({type(error).__name__}: {error}); correct its elements, columns and lattice"
        return StructureError(said), _labels_in(comment)
    return atoms, labels(atoms)


def _labels_in(comment: str) -> dict[str, Any]:
    """Read the labels in the second line of a malformed frame, past its matrices; none where ASE cannot."""
    from ase.io import extxyz

    try:
        read = extxyz.key_val_str_to_dict(_NO_LABELS.sub("_=", comment))  # type: ignore[no-untyped-call]
    except (ValueError, IndexError):
        return {}
    return {name: value for name, value in read.items() if name != "_"}


def _database(path: Path) -> Iterator[Frame]:
    import ase.db

    with readable(path, sqlite3.Error, KeyError):
        database = ase.db.connect(path)  # type: ignore[no-untyped-call]
        total = database.count()
        for row in database.select():
            yield row.toatoms(), {"id": row.id, **row.data, **row.key_value_pairs}, total


def _any(path: Path) -> Iterator[Frame]:
    import ase.io
    from ase.io.formats import UnknownFileTypeError

    with readable(path, Exception):
        try:
            frames = ase.io.iread(path, index=":")
            while (atoms := _next(frames)) is not None:
                yield atoms, labels(atoms), None
        except UnknownFileTypeError:
            raise InputError(
                f"{path} is of no known kind; give .parquet, .csv, .jsonl, .json(.gz), .cif, .vasp, .extxyz, "
                ".db, another file that ASE reads, or a folder"
            ) from None


def _next(frames: Iterator[Atoms]) -> Atoms | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return next(frames, None)
