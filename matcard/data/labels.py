"""From columns to what is learned: classes of categories or numbers, and the numbers themselves as further targets."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.errors import InputError, MatcardWarning, listed, nearest_names
from matcard.table_files import LISTS, cleaned_words, label_texts, plain_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float64, Int64, Shaped

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
        edges: the numbers between the intervals of a numeric target; none for categories.
        classes: the class of each interval, such as 0, 1, 0 of a window; none for categories.
    """

    codes: Int64[np.ndarray, " N"]
    class_names: tuple[str, ...]
    target: str
    edges: tuple[float, ...] = ()
    classes: tuple[int, ...] = ()

    def encode(
        self, values: pd.Series[Any], where: Sequence[str] | Shaped[np.ndarray, " M"] | None = None
    ) -> Int64[np.ndarray, " M"]:
        """Give the classes of other rows; -1 where the target is missing or of a class that is not known.

        Args:
            values: the target of each row.
            where: where each row stands, for messages; by default their numbers from 1.

        Raises:
            InputError: words where numbers were expected.
        """
        if self.edges:
            numbers = numbers_of(values, self.target, _places(len(values), where))
            return np.where(np.isnan(numbers), -1, np.array(self.classes)[np.digitize(numbers, self.edges)])
        position: dict[str | None, int] = {plain_word(name): k for k, name in enumerate(self.class_names)}
        return np.array([position.get(name, -1) for name in label_texts(values)], dtype=np.int64)


def make_labels(
    values: pd.Series[Any],
    *,
    threshold: float | None = None,
    bins: Sequence[float] | None = None,
    window: tuple[float, float] | None = None,
    target: str,
    where: Sequence[str] | Shaped[np.ndarray, " N"] | None = None,
) -> Labels:
    """Give each row of the target its class.

    Numbers need a threshold (class 1 where value >= threshold), bins (K edges, K + 1 classes; a value on an
    edge belongs to the class above it) or a window (class 1 where low <= value <= high). Words, truth values
    and up to `MAX_INTEGER_CLASSES` distinct whole numbers are categories, in sorted order; the categories of a
    pandas Categorical keep theirs, those that no row has left out.

    Words that differ only in blanks at either end, in the kind of blanks within, or in the Unicode form of a letter are
    the same class; those that differ in upper and lower case alone are told. The words for a missing value are those of
    `matcard.table_files.MISSING`.

    Args:
        values: the target of each row.
        threshold: see above.
        bins: see above.
        window: see above.
        target: what the column is called.
        where: where each row stands, for messages; by default their numbers from 1.

    Raises:
        InputError: when several or unsuitable edges are given, no row has a value, fewer than two classes result
            or one is empty, or the column is of no use as categories, or holds lists, or words among numbers.
    """
    places = _places(len(values), where)
    if (bad := np.flatnonzero([isinstance(value, str) and value == LISTS for value in values])).size:
        raise InputError(
            f"{target} holds lists in {len(bad)} rows, the first in {places[bad[0]]}; a label is one word or one "
            "number: name another --data.target"
        )
    written, values = values, cleaned_words(values)
    names: tuple[str, ...]
    edges: tuple[float, ...]
    classes: tuple[int, ...]
    if window:
        option, edges, classes = "window", (window[0], float(np.nextafter(window[1], np.inf))), (0, 1, 0)
        inside = f"{_number(window[0])} <= {target} <= {_number(window[1])}"
        names = (f"not {inside}", inside)
    elif threshold is not None or bins is not None:
        option, given = ("bins", bins) if bins is not None else ("threshold", [threshold])
        edges = _edges(option, given)
        between = [f"{_number(low)} <= {target} < {_number(high)}" for low, high in pairwise(edges)]
        names = (f"{target} < {_number(edges[0])}", *between, f"{target} >= {_number(edges[-1])}")
        classes = tuple(range(len(names)))
    else:
        option, edges, classes = "target", (), ()
        names = _categories(values, target, places)
        lost = sorted({str(word).strip() for word in written[written.notna() & values.isna()]} - {""})
        if lost and any(isinstance(value, str) for value in values):  # one of them might be meant as a class
            warnings.warn(
                f"{target}: {', '.join(map(repr, lost))} is taken for a missing value; where it is a class, write "
                "another word",
                MatcardWarning,
                stacklevel=2,
            )
    labels = Labels(np.empty(0, np.int64), names, target, edges, classes)
    labels = replace(labels, codes=labels.encode(values, places))
    _check(labels, values, option)
    return labels


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


def value_columns(
    columns: pd.DataFrame,
    labels: Labels,
    auxiliary: Sequence[str] = (),
    where: Sequence[str] | Shaped[np.ndarray, " N"] | None = None,
) -> ValueColumns | None:
    """Find the numbers of N samples: the target where its classes are made of a number, then the auxiliary columns.

    Args:
        columns: N rows.
        labels: what made the classes.
        auxiliary: further columns.
        where: where each row stands, for messages; by default their numbers from 1.

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
    if labels.edges:
        names.insert(0, labels.target)
    if not names:
        return None
    places = _places(len(columns), where)
    options = [f"--data.{'target' if name == labels.target else 'auxiliary'} {name}" for name in names]
    read = [numbers_of(columns[name], option, places) for name, option in zip(names, options, strict=True)]
    numbers = np.stack(read, axis=1)
    return ValueColumns(tuple(names), numbers, labels.edges, labels.classes)


def numbers_of(
    values: pd.Series[Any], column: str, places: Sequence[str] | Shaped[np.ndarray, " N"]
) -> Float64[np.ndarray, " N"]:
    """Give a column as numbers, NaN where there is none.

    Args:
        values: N cells.
        column: what the column is called in messages.
        places: where each cell stands.

    Raises:
        InputError: it holds words, or infinity; the first are named with their places.
    """
    cleaned = cleaned_words(values)
    numbers = np.array(pd.to_numeric(cleaned, errors="coerce"), dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers) & cleaned.notna()).tolist()
    if wrong:
        first = listed(f"{str(cleaned.iloc[k])!r} in {places[k]}" for k in wrong)
        raise InputError(
            f"{column}: {len(wrong)} of {len(values)} fields are no finite numbers, {first}; correct them, leave such "
            "fields empty, or, where words are the classes, leave out --data.threshold, --data.bins and --data.window"
        )
    return numbers


def _places(number: int, where: Sequence[str] | Shaped[np.ndarray, " N"] | None) -> Any:
    return [f"row {k + 1}" for k in range(number)] if where is None else where


def _edges(option: str, given: Sequence[Any]) -> tuple[float, ...]:
    edges = tuple(map(float, given))
    if not edges:
        raise InputError("--data.bins is empty; give the edges between classes, such as 0.5,2,4")
    if not np.isfinite(edges).all() or any(low >= high for low, high in pairwise(edges)):
        said = ",".join(map(_number, edges))
        raise InputError(f"--data.{option} {said}: finite numbers in increasing order were expected")
    return edges


def _categories(values: pd.Series[Any], target: str, places: Any) -> tuple[str, ...]:
    present = values[values.notna()].infer_objects()
    names = {name for name in label_texts(present) if name is not None}
    if isinstance(values.dtype, pd.CategoricalDtype):
        return tuple(name for name in map(str, values.cat.categories) if name in names)
    if pd.api.types.is_numeric_dtype(present) and not pd.api.types.is_bool_dtype(present):
        if len(names) > MAX_INTEGER_CLASSES or not bool((present % 1 == 0).all()):
            raise InputError(
                f"{target} is numeric ({present.nunique()} values from {_number(present.min())} to "
                f"{_number(present.max())}); make classes of it with --data.threshold X or --data.bins a,b,c"
            )
        return tuple(sorted(names, key=int))
    if len(names) > MAX_INTEGER_CLASSES and pd.to_numeric(present, errors="coerce").notna().mean() > 1 / 2:
        numbers_of(values, target, places)
    if len(names) > max(_FEW, len(present) / 2):
        raise InputError(
            f"{target} has {len(names)} distinct values in {len(present)} rows, too many for classes; name "
            "another --data.target"
        )
    for _, group in groupby(sorted(names, key=str.casefold), key=str.casefold):
        if len(alike := sorted(group)) > 1:
            warnings.warn(
                f"{target}: {' and '.join(map(repr, alike))} differ in upper and lower case alone and are "
                f"{len(alike)} classes; write them alike if they are one",
                MatcardWarning,
                stacklevel=3,
            )
    return tuple(sorted(names))


def _check(labels: Labels, values: pd.Series[Any], option: str) -> None:
    target = labels.target
    counts = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.class_names))
    if counts.sum() == 0:
        raise InputError(f"{target} is missing in all {len(values)} rows; name another --data.target")
    if (counts > 0).sum() < 2:
        only = labels.class_names[int(counts.argmax())]
        raise InputError(
            f"all {counts.sum()} rows with a value are of one class, {only!r}; "
            f"{_advice(labels, values, option)}, since at least two classes are needed"
        )
    if (counts == 0).any():
        empty = listed(repr(labels.class_names[k]) for k in np.flatnonzero(counts == 0))
        raise InputError(f"no row is in {empty}; {_advice(labels, values, option)}")


def _advice(labels: Labels, values: pd.Series[Any], option: str) -> str:
    if not labels.edges:
        return "name another --data.target"
    numbers = pd.to_numeric(values, errors="coerce")
    extent = f"{labels.target} runs from {_number(numbers.min())} to {_number(numbers.max())}"
    return f"choose another --data.{option} ({extent})"


def _number(value: float) -> str:
    return f"{float(value):.12g}"
