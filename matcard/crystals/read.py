"""Reading: any source to crystals, each row with its structure or with what is wrong with it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from matcard.crystals.crystals import Crystals, is_none, objects
from matcard.crystals.readers.assemble import assemble
from matcard.crystals.readers.batch import Wanted
from matcard.crystals.readers.decoding import decode_batches
from matcard.crystals.readers.read import open_source
from matcard.crystals.validate import find_faults
from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matcard.crystals.readers.batch import Batch
    from matcard.crystals.readers.decoding import Decoded

    Progress = Callable[[int, int | None], None]

_TOLD = 3


def read_crystals(
    source: str | Path,
    *,
    id_column: str | None = None,
    structure_column: str | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    repeats: bool = False,
) -> Crystals:
    """Read and check every row of a source, in order; a row that cannot be used has a fault and stays.

    Args:
        source: a table (.parquet, .csv, .jsonl, matminer's .json; all but the first also with .gz), a folder
            of structure files with or without `id_prop.csv`, a file of frames that ASE reads (.extxyz, .db, ...), a
            structure file, or a pattern of structure files such as `new/*.cif`. Lengths are in angstrom.
        id_column: the column with ids; by default the first known one (`material_id`, `id`, ...), else the
            number of the row.
        structure_column: a column of structures; by default structures are found by name.
        jobs: processes for parsing, as in joblib: -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says.
        progress: called with the rows done and the number of rows, which may be an estimate, or None.
        repeats: whether ids may be missing and repeat, as they may in prediction; else such rows are at fault.

    Raises:
        InputError: when the source as a whole cannot be used.
    """
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, None)

    wanted = Wanted(id_column, structure_column, labels_needed=False)
    batches = open_source(source, wanted)
    crystals = Crystals.concatenate([_checked(*part) for part in decode_batches(batches, jobs, advance)])
    if not len(crystals):
        raise InputError(f"{source} has no rows; is it the right file?")
    doubtful = np.flatnonzero(~is_none(crystals.doubts))
    if len(doubtful):
        first = "; ".join(f"{crystals.where[i]}: {crystals.doubts[i]}" for i in doubtful[:_TOLD])
        warnings.warn(
            f"{len(doubtful)} doubts about structures of {source}, which were read nevertheless; check them. "
            f"The first: {first}",
            MatcardWarning,
            stacklevel=2,
        )
    return crystals if repeats else crystals.with_unique_ids()


def _checked(batch: Batch, decoded: list[Decoded]) -> Crystals:
    """Lay the structures of a batch out flat and give each row that cannot be used its fault."""
    faults = np.full(len(decoded), None, dtype=object)
    ids = objects(name or "" for name in batch.ids)
    for i, name in enumerate(ids):
        if not _is_unicode(name):
            ids[i] = name.encode("utf-8", "backslashreplace").decode()
            faults[i] = f"the id {ids[i]} is no valid Unicode text; write it anew"
    crystals, reasons, notes = assemble(ids, decoded)
    faults = np.where(is_none(faults), reasons, faults)
    faults = np.where(is_none(faults), find_faults(crystals), faults)
    laid_out = Crystals(
        ids,
        crystals.lattice,
        crystals.offsets,
        crystals.numbers,
        crystals.frac_coords,
        where=objects(map(batch.where, batch.rows)),
        doubts=objects("; ".join(note) or None for note in notes),
        columns=batch.columns.reset_index(drop=True),
    )
    return laid_out.with_faults(faults)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
