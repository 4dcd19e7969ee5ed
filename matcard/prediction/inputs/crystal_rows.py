"""Structures of any kind as rows in their order: crystals, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.readers.assemble import assemble
from matcard.crystals.readers.batch import Batch
from matcard.crystals.readers.decode import from_ase, from_structure
from matcard.crystals.readers.decoding import decode_batches
from matcard.crystals.validate import find_faults, no_fault
from matcard.errors import InputError
from matcard.prediction.inputs.base import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matcard.crystals.crystals import Crystals
    from matcard.crystals.readers.raw import Raw


def read_rows(
    batches: Iterator[Batch], jobs: int | None = None, advance: Callable[[int], None] = lambda rows: None
) -> Iterator[Rows[Crystals]]:
    """Decode and validate batches; each row of them gives one, ids may repeat.

    Args:
        batches: what a reader gives.
        jobs: processes that parse, as in joblib.
        advance: called with the number of rows after each few that are parsed.
    """
    for batch, decoded in decode_batches(batches, jobs, advance):
        ids = [name if name is not None else "" for name in batch.ids]
        crystals, reasons, _ = assemble(np.array(ids, dtype=object), decoded)
        errors = np.where(no_fault(reasons), find_faults(crystals), reasons)
        yield Rows(ids, [batch.where(row) for row in batch.rows], crystals, errors)


def object_rows(structures: Iterable[Any], ids: Sequence[str] | None = None) -> Rows[Crystals]:
    """Take pymatgen and ASE objects, mixed.

    Raises:
        InputError: an object of another kind, no objects, or ids that are not as many.
    """
    import pandas as pd

    if not isinstance(structures, Iterable):
        raise InputError(f"structures is a {type(structures).__name__}: a list of structures was expected")
    objects = [structures] if _decoder(structures) else list(structures)
    for k, item in enumerate(objects):
        if _decoder(item) is None:
            raise InputError(
                f"structures[{k}] is a {type(item).__name__}: a pymatgen Structure or an ase.Atoms was expected; for "
                "files use python -m matcard.predict, or read them by Structure.from_file"
            )
    names = [str(k) for k in range(len(objects))] if ids is None else [str(name) for name in ids]
    if not objects or len(names) != len(objects):
        raise InputError(f"{len(objects)} structures and {len(names)} ids: give one or more, and an id for each")
    batch = Batch(
        ids=names,
        rows=range(len(objects)),
        where=lambda row: f"structures[{row}]",
        columns=pd.DataFrame(index=range(len(objects))),
        payloads=objects,
        decode=_decode,
        total=len(objects),
    )
    return next(read_rows(iter([batch]), jobs=1))


def _decode(item: Any) -> Raw:
    decoder = _decoder(item)
    assert decoder is not None
    return decoder(item)


def _decoder(item: Any) -> Callable[[Any], Raw] | None:
    """Tell the two kinds by what they can do, so that neither library is loaded for it."""
    if hasattr(item, "get_scaled_positions"):
        return from_ase
    return from_structure if hasattr(item, "lattice") and hasattr(item, "frac_coords") else None
