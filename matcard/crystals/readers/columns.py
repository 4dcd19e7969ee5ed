"""Which columns of a table hold what, and its rows as batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from matcard.crystals.readers.batch import ID_COLUMNS, Batch
from matcard.crystals.readers.decode import from_cell, from_columns
from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    import pandas as pd

    from matcard.crystals.readers.batch import Wanted
    from matcard.crystals.readers.tables import Table

INDEX = "__index_level_0__"
"""How pandas calls an unnamed index in parquet; it gives the ids when no column does."""

_LATTICES = ("lattice_abc_angles", "lattice")
_SITES = ("species", "frac_coords")
_WHOLE = ("structure", "cif")
STRUCTURE_COLUMNS = (*_LATTICES, *_SITES, *_WHOLE)
"""Columns that may hold structures, or a part of them, by name."""


class Roles(NamedTuple):
    """The column with the ids, if any, and the one or three with the structure."""

    id: str | None
    structure: tuple[str, ...]


def find_roles(columns: Sequence[str], name: str, wanted: Wanted) -> Roles:
    """Find ids and structures among the columns of the source `name`.

    Raises:
        InputError: when a named column is not there, or no structure is recognised.
    """
    for option, column in (("id_column", wanted.id_column), ("structure_column", wanted.structure_column)):
        if column is not None:
            require_column(column, columns, name, option)
    ids = wanted.id_column or next((c for c in (*ID_COLUMNS, INDEX) if c in columns), None)
    if wanted.structure_column is not None:
        return Roles(ids, (wanted.structure_column,))
    structure = structure_columns(columns)
    if not structure:
        raise InputError(
            f"{name}: no column with structures among {', '.join(map(repr, columns))}; looked for "
            f"lattice_abc_angles or lattice, with species and frac_coords; {' or '.join(_WHOLE)}. "
            "Name a column of CIF text or pymatgen dicts with --data.structure_column"
        )
    return Roles(ids, structure)


def structure_columns(columns: Container[str]) -> tuple[str, ...]:
    """Give the one or three columns that are taken for structures by name; none where there are none."""
    lattice = next((c for c in _LATTICES if c in columns), None)
    if lattice is not None and all(c in columns for c in _SITES):
        return (lattice, *_SITES)
    return tuple(c for c in _WHOLE if c in columns)[:1]


def require_column(column: str, columns: Iterable[str], name: str, option: str) -> None:
    """Say which columns there are when `column`, named by `--data.<option>`, is not one of them."""
    names = [str(c) for c in columns if c != INDEX]
    if not names:
        raise InputError(
            f"{name} has no columns, so none that is called {column!r} (--data.{option}); labels of structure files "
            "stand in the id_prop.csv of their folder: give that folder as the source"
        )
    if column not in names:
        raise InputError(f"{name} has no column {column!r} (--data.{option}): {nearest_names(column, names)}")


def table_batches(table: Table, wanted: Wanted) -> Iterator[Batch]:
    """Give the rows of a table with their structures still undecoded."""
    roles = None
    for frame, total in table.pieces:
        if roles is None:
            roles = find_roles(list(frame.columns), table.name, wanted)
            if wanted.target is not None and not table.ragged:
                require_column(wanted.target, frame.columns, table.name, "target")
        structures = frame.reindex(columns=list(roles.structure))
        whole = len(roles.structure) == 1
        kept = frame.drop(columns=[c for c in (roles.id, INDEX, *STRUCTURE_COLUMNS, *roles.structure) if c in frame])
        rows = frame.index.tolist()
        yield Batch(
            ids=[str(k) for k in rows] if roles.id is None else as_ids(frame.reindex(columns=[roles.id])[roles.id]),
            rows=rows,
            where=lambda row: f"{table.name} {table.unit} {row}",
            columns=scalars(kept).reset_index(drop=True),
            payloads=list(structures.iloc[:, 0] if whole else structures.itertuples(index=False, name=None)),
            decode=from_cell if whole else from_columns,
            total=total,
        )


def as_ids(values: pd.Series[Any]) -> list[str | None]:
    """Give ids as text, None where there is none; whole numbers without a point."""
    if values.dtype.kind == "f" and bool((values.dropna() % 1 == 0).all()):
        values = values.astype("Int64")
    return [None if missing else str(v) for v, missing in zip(values, values.isna(), strict=True)]


def scalars(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the columns that can be labels or groups: those without lists, arrays and dicts."""
    nested = (list, tuple, dict, np.ndarray)
    keep = [
        frame.dtypes.iloc[k].kind != "O" or not any(isinstance(v, nested) for v in frame.iloc[:, k])
        for k in range(frame.shape[1])
    ]
    return frame.loc[:, keep]
