"""From a column to classes: categories as they are, numbers by a threshold, by bins or by a window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.tables import require_column
from matcard.errors import InputError, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from jaxtyping import Float64, Int64

MAX_INTEGER_CLASSES = 20
"""A column of whole numbers with more distinct values is a quantity, not a category."""

# Names that are as many as half the rows tell rows apart, not classes.
_FEW = 20


@dataclass(frozen=True, eq=False)
class Labels:
    """Classes of N rows.

    Attributes:
        codes: (N,) positions in `class_names`; -1 where the target is missing.
        class_names: the C >= 2 classes, each with at least one row.
        target: the column they come from.
        edges: the numbers between the classes of a numeric target; none for categories.
        window: the lowest and the highest number of class 1, where all others are class 0.
    """

    codes: Int64[np.ndarray, " N"]
    class_names: tuple[str, ...]
    target: str
    edges: tuple[float, ...] = ()
    window: tuple[float, float] | None = None

    def encode(self, values: pd.Series[Any]) -> Int64[np.ndarray, " M"]:
        """Give the classes of other rows; -1 where the target is missing or of a class that is not known."""
        if self.window:
            return _by_window(values, self.window, self.target)
        if self.edges:
            return _by_edges(values, self.edges, self.target)
        position: dict[str | None, int] = {name: k for k, name in enumerate(self.class_names)}
        return np.array([position.get(name, -1) for name in _texts(values)], dtype=np.int64)


def target_column(columns: pd.DataFrame, target: str, source: str = "the source") -> pd.Series[Any]:
    """Give the column of the target.

    Raises:
        InputError: when there is none of that name, with the nearest names and all there are.
    """
    require_column(target, map(str, columns), source, "target")
    return columns[target]


def make_labels(
    values: pd.Series[Any],
    *,
    threshold: float | None = None,
    bins: Sequence[float] | None = None,
    window: tuple[float, float] | None = None,
    target: str,
) -> Labels:
    """Give each row of the target its class.

    Numbers need a threshold (class 1 where value >= threshold), bins (K edges, K + 1 classes; a value on an
    edge belongs to the class above it) or a window (class 1 where low <= value <= high). Words, truth values
    and up to `MAX_INTEGER_CLASSES` distinct whole numbers are categories, in sorted order; the categories of a
    pandas Categorical keep theirs, those that no row has left out.

    Raises:
        InputError: when several or unsuitable edges are given, no row has a value, fewer than two classes result
            or one is empty, or the column is of no use as categories.
    """
    edges = _edges(threshold, bins)
    if edges and window:
        raise InputError("--data.window stands alone: leave --data.threshold and --data.bins out")
    names: tuple[str, ...]
    if window:
        between = f"{_number(window[0])} <= {target} <= {_number(window[1])}"
        names = (f"not {between}", between)
    else:
        names = _edge_names(edges, target) if edges else _categories(values, target)
    labels = Labels(np.empty(0, np.int64), names, target, edges, window)
    labels = replace(labels, codes=labels.encode(values))
    _check(labels, values)
    return labels


def _edges(threshold: float | None, bins: Sequence[float] | None) -> tuple[float, ...]:
    if threshold is not None and bins is not None:
        raise InputError("--data.threshold and --data.bins are both given; one of them makes the classes")
    given = bins if bins is not None else [threshold] if threshold is not None else []
    edges = tuple(float(edge) for edge in given)
    if bins is not None and not edges:
        raise InputError("--data.bins is empty; give the edges between classes, such as 0.5,2,4")
    if not np.isfinite(edges).all() or any(low >= high for low, high in pairwise(edges)):
        option = "threshold" if bins is None else "bins"
        raise InputError(f"--data.{option} {_listed(edges)}: finite numbers in increasing order were expected")
    return edges


def _edge_names(edges: tuple[float, ...], target: str) -> tuple[str, ...]:
    between = [f"{_number(low)} <= {target} < {_number(high)}" for low, high in pairwise(edges)]
    return (f"{target} < {_number(edges[0])}", *between, f"{target} >= {_number(edges[-1])}")


def _by_edges(values: pd.Series[Any], edges: tuple[float, ...], target: str) -> Int64[np.ndarray, " N"]:
    numbers = _numbers(values, target)
    return np.where(np.isnan(numbers), -1, np.digitize(numbers, edges))


def _by_window(values: pd.Series[Any], window: tuple[float, float], target: str) -> Int64[np.ndarray, " N"]:
    numbers = _numbers(values, target)
    return np.where(np.isnan(numbers), -1, (window[0] <= numbers) & (numbers <= window[1]))


def _numbers(values: pd.Series[Any], target: str) -> Float64[np.ndarray, " N"]:
    """Read numbers, NaN where there is none."""
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    words = numbers.isna() & ~_missing(values)
    if words.any():
        raise InputError(
            f"{target} is not numeric: it holds {values[words].iloc[0]!r}; leave --data.threshold, "
            "--data.bins and --data.window out, or name another --data.target"
        )
    return numbers.to_numpy()


def _categories(values: pd.Series[Any], target: str) -> tuple[str, ...]:
    import pandas as pd

    present = values[~_missing(values)].infer_objects()
    names = {name for name in _texts(present) if name is not None}
    if isinstance(values.dtype, pd.CategoricalDtype):
        return tuple(name for name in map(str, values.cat.categories) if name in names)
    if pd.api.types.is_numeric_dtype(present) and not pd.api.types.is_bool_dtype(present):
        if len(names) > MAX_INTEGER_CLASSES or not bool((present % 1 == 0).all()):
            raise InputError(
                f"{target} is numeric ({present.nunique()} values from {_number(present.min())} to "
                f"{_number(present.max())}); make classes of it with --data.threshold X or --data.bins a,b,c"
            )
        return tuple(sorted(names, key=int))
    if len(names) > max(_FEW, len(present) / 2):
        raise InputError(
            f"{target} has {len(names)} distinct values in {len(present)} rows, too many for classes; name "
            "another --data.target"
        )
    return tuple(sorted(names))


def _texts(values: pd.Series[Any]) -> list[str | None]:
    """Give the category of each value as text: whole numbers without a point, None where missing."""
    return [
        None if missing else str(int(value)) if isinstance(value, float) and value % 1 == 0 else str(value)
        for value, missing in zip(values, _missing(values), strict=True)
    ]


def _missing(values: pd.Series[Any]) -> pd.Series[bool]:
    return values.isna() | values.map(lambda value: isinstance(value, str) and not value.strip()).astype(bool)


def _check(labels: Labels, values: pd.Series[Any]) -> None:
    target = labels.target
    counts = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.class_names))
    if counts.sum() == 0:
        raise InputError(f"{target} is missing in all {len(values)} rows; name another --data.target")
    if (counts > 0).sum() < 2:
        only = labels.class_names[int(counts.argmax())]
        raise InputError(
            f"all {counts.sum()} rows with a value are of one class, {only!r}; "
            f"{_advice(labels, values)}, since at least two classes are needed"
        )
    if (counts == 0).any():
        empty = listed(repr(labels.class_names[k]) for k in np.flatnonzero(counts == 0))
        raise InputError(f"no row is in {empty}; {_advice(labels, values)}")


def _advice(labels: Labels, values: pd.Series[Any]) -> str:
    import pandas as pd

    if not labels.edges and not labels.window:
        return "name another --data.target"
    numbers = pd.to_numeric(values, errors="coerce")
    option = f"--data.{'window' if labels.window else 'threshold' if len(labels.edges) == 1 else 'bins'}"
    extent = f"{labels.target} runs from {_number(numbers.min())} to {_number(numbers.max())}"
    return f"choose another {option} ({extent})"


def _number(value: float) -> str:
    return f"{float(value):.12g}"


def _listed(numbers: tuple[float, ...]) -> str:
    return ",".join(_number(number) for number in numbers)
