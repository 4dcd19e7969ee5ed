"""The confusion matrix, and the averages that are functions of it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def confusion_matrix(
    targets: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], num_classes: int
) -> Int[np.ndarray, "C C"]:
    """Count pairs: row = true class, column = predicted class."""
    return np.bincount(targets * num_classes + predicted, minlength=num_classes**2).reshape(
        num_classes, num_classes
    )


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


def confusion_averages(
    confusion: Float[np.ndarray, "*batch C C"], minority: Bool[np.ndarray, " C"]
) -> dict[str, Float[np.ndarray, "*batch"]]:
    """Give the averages that follow from confusion matrices, over any leading dimensions.

    Averages run over classes with support; macro-precision over those of them that were predicted at all.
    NaN where undefined: MCC when one class is true or predicted throughout, a minority mean without minority.

    Args:
        confusion: counts, row = true class, column = predicted class.
        minority: which classes count as minority.

    Returns:
        accuracy, balanced_accuracy, macro_f1, macro_precision, minority_recall, mcc (the multi-class form of
        J. Gorodkin, Comput. Biol. Chem. 28, 367, 2004), g_mean (geometric mean of recalls).
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, called = confusion.sum(axis=-1), confusion.sum(axis=-2)
    n, right = support.sum(axis=-1), hits.sum(axis=-1)
    present = support > 0
    recall = ratio(hits, support)
    with np.errstate(divide="ignore"):
        log_recall = np.log(np.where(present, recall, 1.0))
    covariance = right * n - (support * called).sum(axis=-1)
    variance = (n**2 - (support**2).sum(axis=-1)) * (n**2 - (called**2).sum(axis=-1))
    return {
        "accuracy": ratio(right, n),
        "balanced_accuracy": masked_mean(recall, present),
        "macro_f1": masked_mean(ratio(2 * hits, support + called), present),
        "macro_precision": masked_mean(ratio(hits, called), present & (called > 0)),
        "minority_recall": masked_mean(recall, present & minority),
        "mcc": ratio(covariance, np.sqrt(variance)),
        "g_mean": np.exp(ratio(log_recall.sum(axis=-1), present.sum(axis=-1))),
    }
