"""Rows of tables -> their ids, their structures, still undecoded, and their other columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from matcard.crystals.decode import looks_like_structure
from matcard.errors import InputError
from matcard.table_files import ID_COLUMNS, INDEX, Table, as_ids, require_column, scalars

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    import pandas as pd

_LATTICES = ("lattice_abc_angles", "lattice")
_SITES = ("species", "frac_coords")
_WHOLE = ("structure", "cif")
STRUCTURE_COLUMNS = (*_LATTICES, *_SITES, *_WHOLE)
"""Columns that may hold structures, or a part of them, by name."""


@dataclass(frozen=True)
class Wanted:
    """The columns that the caller named, and whether D in a CIF is read as hydrogen."""

    id_column: str | None = None
    structure_column: str | None = None
    deuterium: bool = False


class Batch(NamedTuple):
    """N rows of a source: ids (None where missing), where they stand, their scalar columns, undecoded structures.

    `structures` are what `matcard.crystals.decode` takes. A file of several blocks is one row for each where
    `blocks` says so. `total` is the number of rows of the whole source, estimated or None.
    """

    ids: Sequence[str | None]
    where: Sequence[str]
    columns: pd.DataFrame
    structures: Sequence[Any]
    total: int | None
    blocks: bool = False


def table_batches(table: Table, wanted: Wanted) -> Iterator[Batch]:
    """Give the rows of a table with their structures still undecoded.

    Raises:
        InputError: when a named column is not there, or no structure is recognised.
    """
    id_column: str | None = None
    structure: tuple[str, ...] = ()
    for frame, total in table.pieces:
        if not structure:
            id_column, structure = _roles(frame, table.name, wanted)
        cells = frame.reindex(columns=list(structure))
        kept = frame.drop(columns=[c for c in (id_column, INDEX, *STRUCTURE_COLUMNS, *structure) if c in frame])
        numbers = frame.index.tolist()
        ids = frame.reindex(columns=[id_column])[id_column] if id_column is not None else None
        yield Batch(
            [str(k) for k in numbers] if ids is None else as_ids(ids),
            [f"{table.name} {table.unit} {k}" for k in numbers],
            scalars(kept).reset_index(drop=True),
            list(cells.iloc[:, 0] if len(structure) == 1 else cells.itertuples(index=False, name=None)),
            total,
        )


def structure_columns(columns: Container[str]) -> tuple[str, ...]:
    """Give the one or three columns that are taken for structures by name; none where there are none."""
    lattice = next((c for c in _LATTICES if c in columns), None)
    if lattice is not None and all(c in columns for c in _SITES):
        return (lattice, *_SITES)
    return tuple(c for c in _WHOLE if c in columns)[:1]


def _roles(frame: pd.DataFrame, name: str, wanted: Wanted) -> tuple[str | None, tuple[str, ...]]:
    """Find the column with the ids, if any, and the one or three with the structure, by name or by look."""
    columns = list(frame.columns)
    for option, column in (("id_column", wanted.id_column), ("structure_column", wanted.structure_column)):
        if column is not None:
            require_column(column, columns, name, option)
    ids = wanted.id_column or next((c for c in (*ID_COLUMNS, INDEX) if c in columns), None)
    structure = (wanted.structure_column,) if wanted.structure_column else structure_columns(columns)
    if not structure:
        objects = [c for k, c in enumerate(columns) if frame.dtypes.iloc[k].kind == "O"]
        structure = tuple(c for c in objects if looks_like_structure(next(iter(frame[c].dropna()), None)))[:1]
    if not structure:
        raise InputError(
            f"{name}: no column with structures among {', '.join(map(repr, columns))}; looked for "
            f"lattice_abc_angles or lattice, with species and frac_coords; {' or '.join(_WHOLE)}. "
            "Name a column of CIF text or pymatgen dicts with --data.structure_column"
        )
    return ids, structure


def as_row(value: Any) -> Any:
    """Give the row that an object of JSON stands for, which may be a structure itself."""
    return {"structure": value} if looks_like_structure(value) and "atoms" not in value else value
