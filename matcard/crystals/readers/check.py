"""Batches -> tables of valid crystals, with a reason for each row that is left out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from matcard.crystals.readers.assemble import assemble
from matcard.crystals.readers.decoding import decode_batches
from matcard.crystals.readers.seen import SeenIds
from matcard.crystals.table import CrystalTable
from matcard.crystals.validate import find_faults, no_fault
from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Shaped

    from matcard.crystals.crystals import Crystals
    from matcard.crystals.readers.batch import Batch

_TOLD = 3


@dataclass
class Reading:
    """How far a source is read, and what of its beginning must be known to read on."""

    batches: int = 0
    """Batches that are done."""
    rows: int = 0
    """Their rows."""
    seen: SeenIds = field(default_factory=SeenIds)
    """Their ids."""
    doubts: int = 0
    """Structures that were read though something about them is questionable."""
    first_doubts: list[str] = field(default_factory=list)
    """What is said of the first of them."""
    warnings: list[str] = field(default_factory=list)
    """What the reader warned of, where that is kept."""

    def warn(self, name: str) -> None:
        """Tell the doubts about structures of the source `name`, and what else was kept."""
        for message in self.warnings:
            warnings.warn(message, MatcardWarning, stacklevel=3)
        if self.doubts:
            warnings.warn(
                f"{self.doubts} doubts about structures of {name}, which were read nevertheless; check them. "
                f"The first: {'; '.join(self.first_doubts)}",
                MatcardWarning,
                stacklevel=3,
            )


def checked(
    batches: Iterator[Batch],
    name: str,
    jobs: int | None,
    progress: Callable[[int, int | None], None] | None = None,
    reading: Reading | None = None,
) -> Iterator[CrystalTable]:
    """Decode and validate each batch after those that `reading` counts, and count it there; ids must be new.

    Args:
        batches: what a reader gives, from the beginning of the source.
        name: of the source, for messages.
        jobs: processes to decode in, as in joblib.
        progress: called with the rows done and the number of rows, an estimate or None.
        reading: how far an earlier call came.

    Raises:
        InputError: when the source has no rows.
    """
    reading = Reading() if reading is None else reading
    counter = _Counter(reading.rows, progress)
    rest = counter.told(islice(batches, reading.batches, None))
    for batch, decoded in decode_batches(rest, jobs, counter.advance):
        crystals, reasons, notes = assemble(np.array(batch.ids, dtype=object), decoded)
        faults = np.where(no_fault(reasons), find_faults(crystals), reasons)
        for i, (row_id, row) in enumerate(zip(batch.ids, batch.rows, strict=True)):
            faults[i] = faults[i] or _id_fault(row_id, row, batch, reading.seen)
            if faults[i] is None:
                reading.doubts += len(notes[i])
                room = _TOLD - len(reading.first_doubts)
                reading.first_doubts += [f"{batch.where(row)}: {note}" for note in notes[i][:room]]
        reading.batches += 1
        reading.rows += len(batch.ids)
        yield _split(batch, crystals, faults)
    if reading.rows == 0:
        raise InputError(f"{name} has no rows; is it the right file?")


class _Counter:
    """Says how many rows are done, of how many."""

    def __init__(self, done: int, progress: Callable[[int, int | None], None] | None) -> None:
        self.done = done
        self.total: int | None = None
        self.progress = progress

    def told(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Hand batches on and look at how many rows there are in all."""
        for batch in batches:
            first, self.total = self.total is None, batch.total
            if first:
                self.advance(0)
            yield batch

    def advance(self, rows: int) -> None:
        self.done += rows
        if self.progress is not None:
            self.progress(self.done, self.total)


def _id_fault(row_id: str | None, row: int, batch: Batch, seen: SeenIds) -> str | None:
    if row_id is None:
        return "no id; give the row one"
    first = seen.first_row(row_id, row)
    if first != row:
        return f"duplicated id {row_id!r}, first in {batch.where(first)}; give each crystal an id of its own"
    return None


def _split(batch: Batch, crystals: Crystals, faults: Shaped[np.ndarray, " N"]) -> CrystalTable:
    import pandas as pd

    sound = no_fault(faults)
    bad = np.flatnonzero(~sound).tolist()
    rest = batch.columns.iloc[bad].reset_index(drop=True)
    said = pd.DataFrame(
        {
            "id": [batch.ids[i] or "" for i in bad],
            "where": [batch.where(batch.rows[i]) for i in bad],
            "reason": faults[bad],
        },
        dtype=object,
    )
    # A column of the source that is called like one of these keeps its values under a longer name.
    rest = rest.rename(columns={name: f"source_{name}" for name in said})
    return CrystalTable(
        crystals.take(np.flatnonzero(sound)),
        batch.columns[sound].reset_index(drop=True),
        pd.concat([said, rest], axis=1),
        np.array(batch.rows, dtype=np.int64)[sound],
    )
