"""The confusion matrix, and the averages that follow from it, over any leading dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


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


def accuracy(counts: Counts) -> Float[np.ndarray, "*batch"]:
    """Share predicted right."""
    return ratio(counts.hits.sum(axis=-1), counts.support.sum(axis=-1))


def balanced_accuracy(counts: Counts) -> Float[np.ndarray, "*batch"]:
    """Mean recall over classes with support."""
    return mean_recall(counts, np.ones(counts.support.shape[-1], dtype=bool))


def mean_recall(counts: Counts, classes: Bool[np.ndarray, " C"]) -> Float[np.ndarray, "*batch"]:
    """Mean recall over the given classes with support; NaN where there is none."""
    return masked_mean(ratio(counts.hits, counts.support), counts.present & classes)


def macro_f1(counts: Counts) -> Float[np.ndarray, "*batch"]:
    """Mean F1 = 2 TP / (2 TP + FP + FN) over classes with support."""
    return masked_mean(ratio(2 * counts.hits, counts.support + counts.called), counts.present)


def macro_precision(counts: Counts) -> Float[np.ndarray, "*batch"]:
    """Mean precision over classes with support that were predicted at all."""
    return masked_mean(ratio(counts.hits, counts.called), counts.present & (counts.called > 0))


def mcc(counts: Counts) -> Float[np.ndarray, "*batch"]:
    """Matthews correlation for C classes (J. Gorodkin, Comput. Biol. Chem. 28, 367, 2004).

    NaN when one class is true, or predicted, throughout.
    """
    hits, support, called = counts
    n = support.sum(axis=-1)
    covariance = hits.sum(axis=-1) * n - (support * called).sum(axis=-1)
    variances = (n**2 - (support**2).sum(axis=-1)) * (n**2 - (called**2).sum(axis=-1))
    return ratio(covariance, np.sqrt(variances))


def g_mean(counts: Counts) -> Float[np.ndarray, "*batch"]:
    """Geometric mean of the recalls of classes with support; 0 when one of them is never found."""
    with np.errstate(divide="ignore"):
        logs = np.log(ratio(counts.hits, counts.support))
    return np.asarray(np.exp(masked_mean(logs, counts.present)))


def confusion_averages(
    confusion: Int[np.ndarray, "*batch C C"], minority: Bool[np.ndarray, " C"]
) -> dict[str, Float[np.ndarray, "*batch"]]:
    """Give all averages above by name, and `minority_recall` over the classes marked as minority."""
    counts = Counts.of(confusion)
    plain = (accuracy, balanced_accuracy, macro_f1, macro_precision, mcc, g_mean)
    return {f.__name__: f(counts) for f in plain} | {"minority_recall": mean_recall(counts, minority)}
