"""What targets and probabilities must be, metrics of the confusion matrix, intervals of proportions, rare classes."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np

from matcard.errors import InputError, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Bool, Float, Int

MANY_SHOT = 100
FEW_SHOT = 20
"""More than 100 training samples: many; fewer than 20: few (Z. Liu et al., OLTR, CVPR 2019)."""
_Z2 = NormalDist().inv_cdf(0.975) ** 2

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from one: float16 softmax over some dozens of classes stays below."""

_ROWS_SHOWN = 5


def check_probabilities(
    probabilities: Float[np.ndarray, "n C"], num_classes: int | None = None
) -> Float[np.ndarray, "n C"]:
    """Give probabilities as an array; of any number of classes where that is not given.

    Raises:
        InputError: wrong shape, or rows that are not finite, negative, or do not sum to one.
    """
    array = np.asarray(probabilities)
    if array.ndim != 2 or num_classes not in (None, array.shape[1]):
        raise InputError(f"probabilities must have shape (n, {num_classes or 'C'}), got {array.shape}")
    total = array.sum(axis=1, dtype=np.float64)  # NaN where one is
    rows = np.flatnonzero(~((array >= 0).all(axis=1) & (np.abs(total - 1) <= SUM_TOLERANCE)))
    if rows.size:
        raise InputError(
            "probabilities must be 0 or more and sum to one over classes (softmax(logits), not logits; where they are "
            f"NaN, lower the learning rate), but not so in rows {listed(rows, _ROWS_SHOWN)} (counted from 0)"
        )
    return array


def check_predictions(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], num_classes: int | None = None
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n C"]]:
    """Give both as arrays.

    Raises:
        InputError: targets that are no class indices, not as many as rows, or none; or as `check_probabilities`.
    """
    probabilities, targets = check_probabilities(probabilities, num_classes), np.asarray(targets)
    if targets.dtype.kind not in "iu" or ((targets < 0) | (targets >= probabilities.shape[1])).any():
        raise InputError(f"targets must be class indices from 0 to {probabilities.shape[1] - 1}")
    if targets.shape != (len(probabilities),) or not targets.size:
        raise InputError(f"{len(probabilities)} rows of probabilities need as many targets, and one at least")
    return targets, probabilities


def confusion_matrix(
    targets: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], num_classes: int
) -> Int[np.ndarray, "C C"]:
    """Count pairs: row = true class, column = predicted class."""
    pairs = np.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def ratio(
    numerator: Float[np.ndarray, "*shape"], denominator: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Divide, NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator == 0, np.nan, np.divide(numerator, denominator))


def masked_mean(
    values: Float[np.ndarray, "*batch C"], mask: Bool[np.ndarray, "*batch C"]
) -> Float[np.ndarray, "*batch"]:
    """Average over the last axis where `mask` holds; NaN where it nowhere does."""
    return ratio(np.where(mask, values, 0.0).sum(axis=-1), mask.sum(axis=-1))


class Counts(NamedTuple):
    """Of each class: samples predicted right, samples that are of it, samples that were predicted to be."""

    hits: Float[np.ndarray, "*batch C"]
    support: Float[np.ndarray, "*batch C"]
    called: Float[np.ndarray, "*batch C"]

    @classmethod
    def of(cls, confusion: Int[np.ndarray, "*batch C C"]) -> Counts:
        """Sum a confusion matrix over its columns and rows."""
        matrix = np.asarray(confusion, dtype=np.float64)
        return cls(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1), matrix.sum(axis=-2))

    @property
    def present(self) -> Bool[np.ndarray, "*batch C"]:
        """Classes with support."""
        return self.support > 0


def recall(counts: Counts) -> Float[np.ndarray, "*batch C"]:
    """Give the share of each class that is found."""
    return ratio(counts.hits, counts.support)


def f1(counts: Counts) -> Float[np.ndarray, "*batch C"]:
    """Give 2 TP / (2 TP + FP + FN) of each class."""
    return ratio(2 * counts.hits, counts.support + counts.called)


def _geometric(counts: Counts) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(masked_mean(np.log(recall(counts)), counts.present)))


def _mcc(counts: Counts) -> np.ndarray:
    hits, support, called = counts
    n = support.sum(axis=-1)
    product, trues, calls = ((a * b).sum(axis=-1) for a, b in ((support, called), (support, support), (called, called)))
    return ratio(hits.sum(axis=-1) * n - product, np.sqrt((n**2 - trues) * (n**2 - calls)))


AVERAGES: dict[str, Callable[[Counts], Float[np.ndarray, "*batch"]]] = {
    "accuracy": lambda counts: ratio(counts.hits.sum(axis=-1), counts.support.sum(axis=-1)),
    "balanced_accuracy": lambda counts: masked_mean(recall(counts), counts.present),
    "macro_f1": lambda counts: masked_mean(f1(counts), counts.present),
    "mcc": _mcc,
    "g_mean": _geometric,
}
"""What is computed from a confusion matrix alone, NaN where undefined; a class without support does not count.

* `accuracy`: share predicted right; `balanced_accuracy`: mean recall; `macro_f1`: mean of 2 TP / (2 TP + FP + FN);
* `mcc`: Matthews correlation for C classes (J. Gorodkin, Comput. Biol. Chem. 28, 367, 2004), NaN when one class is
  true, or predicted, throughout;
* `g_mean`: geometric mean of the recalls, 0 when one class is never found.
"""


def confusion_averages(
    confusion: Int[np.ndarray, "*batch C C"], minority: Bool[np.ndarray, " C"]
) -> dict[str, Float[np.ndarray, "*batch"]]:
    """Give all of `AVERAGES` by name, and `minority_recall` over the classes marked as minority."""
    counts = Counts.of(confusion)
    found = {name: average(counts) for name, average in AVERAGES.items()}
    return found | {"minority_recall": masked_mean(recall(counts), counts.present & minority)}


def minority_mask(train_counts: Int[np.ndarray, " C"]) -> Bool[np.ndarray, " C"]:
    """Say which classes have a share of the training part below 1/C."""
    # In whole numbers where the counts are whole: C equal counts must not differ from 1/C by rounding.
    return np.asarray(train_counts * len(train_counts) < train_counts.sum())


def shot_recall(
    confusion: Int[np.ndarray, "C C"], train_counts: Int[np.ndarray, " C"]
) -> dict[str, dict[str, float | int]]:
    """Give mean recall over the classes with many, medium and few training samples.

    Returns:
        for each group its `recall` (NaN without support) over `classes_with_support` of its `classes`.
    """
    counts = Counts.of(confusion)
    many, few = train_counts > MANY_SHOT, train_counts < FEW_SHOT
    return {
        name: {
            "recall": float(masked_mean(recall(counts), counts.present & mask)),
            "classes": int(mask.sum()),
            "classes_with_support": int((mask & counts.present).sum()),
        }
        for name, mask in (("many", many), ("medium", ~many & ~few), ("few", few))
    }


class Interval(TypedDict):
    """A proportion with its interval, and the number of cases it is over; NaN where n is 0."""

    value: float
    low: float
    high: float
    n: int


def wilson_bounds(
    successes: Float[np.ndarray, "*shape"], n: Float[np.ndarray, "*shape"]
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Give the 95 % Wilson score interval of k of n, NaN where n is 0 (E. B. Wilson, JASA 22, 209, 1927).

    The bounds, in [0, 1], solve (k/n - x)^2 = z^2 x (1 - x) / n for x.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (k + _Z2 / 2) / (n + _Z2)
        half = np.sqrt(_Z2 * (k * (n - k) / n + _Z2 / 4)) / (n + _Z2)
    # At k = 0 and k = n the exact bound is 0 or 1; rounding would leave 1e-17 there.
    low = np.where(k == 0, np.where(n == 0, np.nan, 0.0), centre - half)
    high = np.where(k == n, np.where(n == 0, np.nan, 1.0), centre + half)
    return low, high


def wilson(successes: int, n: int) -> Interval:
    """Give one proportion with its Wilson interval; see `wilson_bounds`.

    Examples:
        >>> {key: round(number, 3) for key, number in wilson(3, 4).items()}
        {'value': 0.75, 'low': 0.301, 'high': 0.954, 'n': 4}
    """
    low, high = wilson_bounds(np.asarray(successes), np.asarray(n))
    return Interval(value=successes / n if n else float("nan"), low=float(low), high=float(high), n=int(n))


def successes(interval: Interval) -> int:
    """Give k back from k/n; also of an interval read from JSON, where an undefined value is null."""
    return round(interval["value"] * interval["n"]) if interval["n"] else 0


def wilson_f1(hits: int, errors: int) -> Interval:
    """Give F1 of TP hits and FP + FN errors with an interval from Wilson's.

    F1 = 2 J / (1 + J) grows with J = TP / (TP + FP + FN), a proportion over the cases where the class is true
    or predicted (D. J. Hand et al., F*, Machine Learning 110, 451, 2021), so the bounds of J carry over.
    """
    jaccard = wilson(hits, hits + errors)
    value, low, high = (2 * x / (1 + x) for x in (jaccard["value"], jaccard["low"], jaccard["high"]))
    return Interval(value=value, low=low, high=high, n=jaccard["n"])
