"""Which columns of a table name its rows, which describe them, and the numbers that stand in them."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.crystals.crystals import ELEMENTS, is_none
from matcard.errors import InputError, MatcardWarning, listed
from matcard.table_files import ID_COLUMNS, as_ids, require_column

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from jaxtyping import Float64, Shaped

_SMALLEST = -1e-9
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+")
_FEWEST_COUNTED = 10
"""In fewer rows a feature may be 1, 2, 3... by chance."""


def ids_of(frame: pd.DataFrame, column: str | None, source: str) -> tuple[Shaped[np.ndarray, " N"], str | None]:
    """Give the ids, by the named column, a usual one, or the number of the row."""
    if column is not None:
        require_column(column, map(str, frame), source, "id_column")
    column = column or next((name for name in ID_COLUMNS if name in frame), None)
    if column is None:
        return np.array([str(i) for i in range(1, len(frame) + 1)], dtype=object), None
    return np.array([name or "" for name in as_ids(frame[column])], dtype=object), column


def number_columns(
    frame: pd.DataFrame, named: Sequence[str] | None, aside: Collection[str | None], source: str
) -> Sequence[str]:
    """Give the columns that describe rows by numbers: those named, or all that hold mostly numbers.

    Args:
        frame: rows.
        named: columns, or None.
        aside: columns that say something else: ids, target, groups.
        source: how the table is called in messages.

    Raises:
        InputError: a named column that is not there, or no column of numbers.
    """
    if named is not None:
        for name in named:
            require_column(name, map(str, frame), source, "features")
        return named
    found = [name for name in map(str, frame) if name not in aside and _mostly_numbers(frame[name])]
    counting = [name for name in found if _counts_rows(frame[name])]
    if counting:
        # Rows are often sorted by class, which their numbers then give away.
        warnings.warn(
            f"{source}: {listed(map(repr, counting))} counts the rows and is not used to predict; name it with "
            "--data.features if it means something",
            MatcardWarning,
            stacklevel=4,
        )
        found = [name for name in found if name not in counting]
    if not found:
        names = listed(name for name in map(str, frame) if not name.startswith("__"))
        raise InputError(
            f"{source} has no column of numbers beside id and target among {names}; if it holds crystals, name the "
            "column of structures with --data.structure_column, if formulas, with --data.composition_column"
        )
    return found


def _mostly_numbers(values: pd.Series[Any]) -> bool:
    """Say whether most of a column's cells are numbers; the others are then malformed."""
    present = values.dropna()
    return len(present) > 0 and pd.to_numeric(present, errors="coerce").notna().mean() > 0.5


def _counts_rows(values: pd.Series[Any]) -> bool:
    """Say whether a column is 0, 1, 2... or 1, 2, 3..., begun again at most once, as with a second file of rows."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    if len(numbers) < _FEWEST_COUNTED or numbers[0] not in (0, 1):
        return False
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    return len(breaks) == 0 or (len(breaks) == 1 and bool(numbers[breaks[0]] == numbers[0]))


def numbers_of(
    frame: pd.DataFrame, names: Sequence[str]
) -> tuple[Float64[np.ndarray, "N F"], Shaped[np.ndarray, " N"]]:
    """Give the numbers in columns, and what is wrong with a row, or None."""
    inputs = np.empty((len(frame), len(names)))
    faults = np.full(len(frame), None, dtype=object)
    for k, name in enumerate(names):
        inputs[:, k] = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        for i in np.flatnonzero(~np.isfinite(inputs[:, k]) & is_none(faults)).tolist():
            cell = frame[name].iloc[i]
            faults[i] = f"{name} is missing" if pd.isna(cell) else f"{name} is {cell!r}: a finite number was expected"
    return inputs, faults


def proportions(
    amounts: Float64[np.ndarray, "N F"], faults: Shaped[np.ndarray, " N"]
) -> tuple[Float64[np.ndarray, "N F"], Shaped[np.ndarray, " N"]]:
    """Divide the amounts of components by their sum, so that per cents, fractions and counts are alike.

    Rows with a negative amount, or with none of anything, are at fault too.
    """
    total = amounts.sum(axis=1)
    faults = faults.copy()
    faults[is_none(faults) & (amounts < _SMALLEST).any(axis=1)] = "a component has a negative amount"
    faults[is_none(faults) & ~(total > 0)] = "it has nothing of any component"
    return np.maximum(amounts, 0) / np.where(total > 0, total, 1.0)[:, None], faults


def compounds(names: Iterable[Any]) -> list[str]:
    """Give the names that are formulas of two elements and more, which components go by: Y and No may be anything."""
    found = []
    for name in map(str, names):
        symbols = set(_ELEMENT.findall(name))
        if _FORMULA.fullmatch(name) and len(symbols) > 1 and symbols <= ELEMENTS.keys():
            found.append(name)
    return found
