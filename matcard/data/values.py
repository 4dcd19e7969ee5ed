"""Numbers as further targets: the one that the classes are made of, and other columns of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float64, Int

    from matcard.data.labels import Labels


@dataclass(frozen=True, eq=False)
class ValueColumns:
    """V numbers of each of N samples.

    Attributes:
        names: of the columns.
        numbers: (N, V) as the source has them; NaN where missing.
        edges: between the intervals of the first column that make the classes; none where the classes are categories.
        classes: the class of each interval; none where the classes are categories.
    """

    names: tuple[str, ...]
    numbers: Float64[np.ndarray, "N V"]
    edges: tuple[float, ...] = ()
    classes: tuple[int, ...] = ()

    def take(self, indices: Int[np.ndarray, " M"]) -> ValueColumns:
        """Give those of the samples at `indices`."""
        return ValueColumns(self.names, self.numbers[indices], self.edges, self.classes)


def value_columns(columns: pd.DataFrame, labels: Labels, auxiliary: Sequence[str] = ()) -> ValueColumns | None:
    """Find the numbers of N samples: the target where its classes are made of a number, then the auxiliary columns.

    Args:
        columns: N rows.
        labels: what made the classes.
        auxiliary: further columns.

    Returns:
        the numbers, or None where there are none.

    Raises:
        InputError: an auxiliary column that there is not, is the target, is named twice, or holds words.
    """
    names = list(auxiliary)
    for name in names:
        if name not in columns:
            raise InputError(f"--data.auxiliary: there is no column {name!r}; {nearest_names(name, map(str, columns))}")
    if len(set(names)) < len(names) or labels.target in names:
        raise InputError(
            f"--data.auxiliary {','.join(names)}: name each column once, and not the target, {labels.target!r}, whose "
            "number is learned anyway where the classes are made of it"
        )
    edges, classes = _intervals(labels)
    if edges:
        names.insert(0, labels.target)
    if not names:
        return None
    return ValueColumns(tuple(names), np.stack([numbers_of(columns[name]) for name in names], axis=1), edges, classes)


def _intervals(labels: Labels) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Give the edges between intervals of the target, and the class of each interval."""
    if labels.window is not None:
        low, high = labels.window
        return (low, float(np.nextafter(high, np.inf))), (0, 1, 0)
    return labels.edges, tuple(range(len(labels.edges) + 1)) if labels.edges else ()


def numbers_of(values: pd.Series[Any]) -> Float64[np.ndarray, " N"]:
    """Give a column as numbers, NaN where there is none.

    Raises:
        InputError: it holds words.
    """
    numbers = np.array(pd.to_numeric(values, errors="coerce"), dtype=np.float64)
    words = ~np.isfinite(numbers) & values.notna().to_numpy() & (values.astype(str).str.strip() != "").to_numpy()
    if words.any():
        raise InputError(
            f"column {values.name!r} holds {str(values[words].iloc[0])!r}, which is no finite number: mend it, "
            "or leave such fields empty"
        )
    return numbers
