"""Files of many frames through ASE: extended XYZ, ASE databases, trajectories; labels in `info`."""

from __future__ import annotations

import re
import sqlite3
import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import ase.db
import ase.io
import pandas as pd
from ase.io import extxyz
from ase.io.formats import UnknownFileTypeError

from matcard.crystals.batches import Batch, Wanted
from matcard.crystals.crystals import Crystal
from matcard.crystals.decode import labels_of, xyz_frame
from matcard.errors import InputError
from matcard.files import decode_text, file_kind, open_bytes, plain_name, readable
from matcard.table_files import as_ids, ids_column, scalars

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ase import Atoms

    Frame = tuple[Atoms | Crystal, Mapping[str, Any]]
    """A structure, or why there is none, and the labels that came with it."""

_NO_LABELS = re.compile(r"\b(?:Lattice|stress|virial|Properties|pbc)\s*=")
"""What is of a frame and no label; ASE refuses the whole line where a matrix is malformed."""
_TRUTH = re.compile(r"""(?:^|\s)["']?([^\s"'=]+)["']?\s*=\s*["']?(T|F|True|False|true|false|TRUE|FALSE)["']?(?=\s|$)""")


class Truth(NamedTuple):
    """A truth value of one frame, which is a word where other frames have words."""

    value: bool
    word: str


def frame_batch(path: Path, wanted: Wanted) -> Batch:
    """Read all frames of a file that ASE knows, with their labels as columns, each of one type.

    Raises:
        InputError: the file cannot be read, or lacks the column of ids that is asked for.
    """
    read = {"db": _database, "xyz": _extended_xyz}.get(file_kind(path), _any)
    frames = list(read(path))
    columns = pd.DataFrame([dict(labels) for _, labels in frames], index=range(len(frames)), dtype=object)
    for k in range(columns.shape[1]):
        columns.isetitem(k, _of_one_type(columns.iloc[:, k]).array)
    columns = scalars(columns)
    ids = ids_column(columns, wanted.id_column, path.name)
    rows = range(1, len(frames) + 1)
    return Batch(
        [str(k) for k in rows] if ids is None else as_ids(columns[ids]),
        [f"{path.name} frame {row}" for row in rows],
        columns.drop(columns=[] if ids is None else [ids]),
        [structure for structure, _ in frames],
        len(frames),
    )


def _of_one_type(values: pd.Series[Any]) -> pd.Series[Any]:
    """Give truth values back as the words that they were written as where the column holds words, too."""
    if not any(isinstance(value, Truth) for value in values):
        return values.infer_objects()
    as_words = not all(isinstance(value, (Truth, bool)) for value in values[values.notna()])
    picked = [getattr(value, "word" if as_words else "value", value) for value in values]
    return pd.Series(picked, values.index, dtype=object).infer_objects()


def _extended_xyz(path: Path) -> Iterator[Frame]:
    """Read frame by frame, so that a malformed one is left out alone."""
    with readable(path), open_bytes(path) as file:
        frame = 0
        while line := decode_text(file.readline()):
            if not line.strip():
                continue
            frame += 1
            if not line.strip().isdigit():
                raise InputError(f"{path} frame {frame} begins with {line.strip()!r}; a number of atoms was expected")
            rest = [decode_text(line) for line in islice(file, int(line) + 1)]
            if len(rest) <= int(line):
                raise InputError(f"{path} ends in the middle of frame {frame}; is the file complete?")
            yield _xyz_frame(line, rest)


def _xyz_frame(first: str, rest: list[str]) -> Frame:
    truths = {name: Truth(word.lower() in ("t", "true"), word) for name, word in _TRUTH.findall(rest[0])}
    try:
        atoms = xyz_frame(first + "".join(rest))
    except Exception as error:  # whatever a malformed frame makes of the parser
        said = f"malformed frame ({type(error).__name__}: {error}); correct its elements, columns and lattice"
        return Crystal(fault=said), {**_labels_in(rest[0]), **truths}
    return atoms, {name: truths.get(name, value) for name, value in labels_of(atoms).items()}


def _labels_in(comment: str) -> dict[str, Any]:
    """Read the labels in the second line of a malformed frame, past its matrices; none where ASE cannot."""
    try:
        read = extxyz.key_val_str_to_dict(_NO_LABELS.sub("_=", comment))  # type: ignore[no-untyped-call]
    except (ValueError, IndexError):
        return {}
    return {name: value for name, value in read.items() if name != "_"}


def _database(path: Path) -> Iterator[Frame]:
    if plain_name(path) != path.name:
        raise InputError(f"{path} is a compressed database: unpack it, and give the .db")
    with readable(path, sqlite3.Error, KeyError):
        for row in ase.db.connect(path).select():  # type: ignore[no-untyped-call]
            yield row.toatoms(), {"id": row.id, **row.data, **row.key_value_pairs}


def _any(path: Path) -> Iterator[Frame]:
    with readable(path, Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for atoms in ase.io.iread(path, index=":"):
                yield atoms, labels_of(atoms)
        except UnknownFileTypeError:
            raise InputError(
                f"{path} is of no known kind; give .parquet, .csv, .jsonl, .json(.gz), .cif, .vasp, .extxyz, "
                ".db, another file that ASE reads, or a folder"
            ) from None
