"""What every reader gives, some thousand rows at a time, and what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from matcard.crystals.readers.raw import Raw

ID_COLUMNS = ("material_id", "id", "structure_id", "mp_id", "jid", "mpid", "cif_id", "entry_id")
"""Where ids are looked for, in this order, when no column is named."""


@dataclass(frozen=True)
class Wanted:
    """What the caller named: columns by name, and whether it can do without labels."""

    id_column: str | None = None
    structure_column: str | None = None
    target: str | None = None
    labels_needed: bool = True


class Batch(NamedTuple):
    """N rows: ids (None where missing), their scalar columns, undecoded structures.

    `rows` are their numbers in the source, from 1, and `where` says of such a number which row, line, frame or
    file that is. `total` is the number of rows of the whole source, estimated or None where it is not known.
    """

    ids: Sequence[str | None]
    rows: Sequence[int]
    where: Callable[[int], str]
    columns: pd.DataFrame
    payloads: Sequence[Any]
    decode: Callable[[Any], Raw]
    total: int | None
