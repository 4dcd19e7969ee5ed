"""What every function of this package asks of targets and probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Int
    from numpy.typing import ArrayLike

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from one: float16 softmax over some dozens of classes stays below."""

_ROWS_SHOWN = 5


def check_class_names(class_names: Sequence[str]) -> list[str]:
    """Give the names as a list; fewer than two, or two that are equal, raise `InputError`."""
    names = [str(name) for name in class_names]
    if len(names) < 2:
        raise InputError(f"a classification needs at least two classes, given: {names}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"class names must differ, these stand twice: {', '.join(twice)}")
    return names


def check_labels(labels: Int[np.ndarray, " n"], num_classes: int, what: str = "targets") -> Int[np.ndarray, " n"]:
    """Give class indices as int64.

    Raises:
        InputError: empty, not one-dimensional, not whole numbers, or outside 0..num_classes-1.
    """
    array = np.asarray(labels)
    if array.ndim != 1:
        raise InputError(f"{what} must be one-dimensional (n,), got shape {array.shape}")
    if array.size == 0:
        raise InputError(f"{what} are empty: there is nothing to evaluate; check that this part of the split has rows")
    if array.dtype.kind not in "iub":
        raise InputError(f"{what} must be class indices (whole numbers), got {array.dtype}")
    array = array.astype(np.int64)
    _refuse_rows((array < 0) | (array >= num_classes), f"{what} must lie in 0..{num_classes - 1}, but not so in")
    return array


def check_probabilities(
    probabilities: Float[np.ndarray, "n C"], num_classes: int | None = None
) -> Float[np.ndarray, "n C"]:
    """Give probabilities as a floating-point array; of any number of classes where that is not given.

    Raises:
        InputError: wrong shape, NaN or infinite, outside [0, 1], or rows that do not sum to one.
    """
    array = np.asarray(probabilities)
    if array.ndim != 2 or num_classes not in (None, array.shape[1]):
        raise InputError(f"probabilities must have shape (n, {num_classes or 'C'}), got {array.shape}")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    _refuse_rows(
        ~np.isfinite(array).all(axis=1),
        "probabilities are NaN or infinite (did training diverge? lower the learning rate) in",
    )
    _refuse_rows(
        ((array < 0) | (array > 1 + SUM_TOLERANCE)).any(axis=1),
        "probabilities must lie in [0, 1] (pass softmax(logits), not logits), but not so in",
    )
    _refuse_rows(
        np.abs(array.sum(axis=1, dtype=np.float64) - 1) > SUM_TOLERANCE,
        "probabilities must sum to one over classes (pass softmax(logits)), but not so in",
    )
    return array


def check_predictions(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], num_classes: int | None = None
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n C"]]:
    """Check both, and that they have as many rows."""
    probabilities = check_probabilities(probabilities, num_classes)
    targets = check_labels(targets, probabilities.shape[1])
    if len(targets) != len(probabilities):
        raise InputError(f"{len(targets)} targets but {len(probabilities)} rows of probabilities")
    return targets, probabilities


def check_counts(counts: Int[np.ndarray, " C"], num_classes: int) -> Float[np.ndarray, " C"]:
    """Give the class counts of the training part as float64.

    Raises:
        InputError: wrong length, negative, not finite, or all zero.
    """
    array = np.asarray(counts, dtype=np.float64)
    if array.shape != (num_classes,):
        raise InputError(f"train_counts must give one count a class, shape ({num_classes},), got {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any() or array.sum() == 0:
        raise InputError(f"train_counts must be counts, not all zero, got {array.tolist()}")
    return array


def _refuse_rows(bad: Bool[ArrayLike, " n"], message: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        raise InputError(f"{message} row{'s' if rows.size > 1 else ''} {listed(rows, _ROWS_SHOWN)} (counted from 0)")
