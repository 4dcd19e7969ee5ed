"""Metrics of the order of scores: no threshold changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.evaluation.confusion import masked_mean, ratio

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def _steps(
    positive: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, "*batch n"] | None,
) -> tuple[Float[np.ndarray, "*batch m"], Float[np.ndarray, "*batch m"]]:
    """Give weighted true and false positives down to each distinct score; ties go together."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hit = positive[order].astype(np.float64)
    weight = np.ones(len(order)) if weights is None else weights[..., order]
    return np.cumsum(weight * hit, axis=-1)[..., ends], np.cumsum(weight * (1 - hit), axis=-1)[..., ends]


def roc_auc(
    positive: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, "*batch n"] | None = None,
) -> Float[np.ndarray, "*batch"]:
    """Give the area under the ROC curve: the chance that a positive outscores a negative, ties one half.

    Args:
        positive: which samples are of the class.
        scores: its score, finite.
        weights: a weight a sample, non-negative (the counts of a bootstrap resample); 1 by default.

    Returns:
        In [0, 1]; NaN without positives or without negatives.
    """
    tp, fp = _steps(positive, scores, weights)
    tp_before = np.concatenate([np.zeros_like(tp[..., :1]), tp[..., :-1]], axis=-1)
    fp_step = np.diff(fp, axis=-1, prepend=0.0)
    area = (fp_step * (tp + tp_before) / 2).sum(axis=-1)
    return ratio(area, tp[..., -1] * fp[..., -1])


def average_precision(
    positive: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, "*batch n"] | None = None,
) -> Float[np.ndarray, "*batch"]:
    """Give average precision, sum over distinct scores of (R_k - R_{k-1}) P_k; arguments as `roc_auc`.

    A random order gives the prevalence. NaN without positives.
    """
    tp, fp = _steps(positive, scores, weights)
    precision = np.nan_to_num(ratio(tp, tp + fp))
    return ratio((np.diff(tp, axis=-1, prepend=0.0) * precision).sum(axis=-1), tp[..., -1])


def ranking_averages(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    minority: Bool[np.ndarray, " C"],
    weights: Float[np.ndarray, "*batch n"] | None = None,
) -> dict[str, Float[np.ndarray, "*batch"]]:
    """Give roc_auc, average_precision and minority_average_precision.

    Two classes: the score of class 1. More: one against the rest, averaged over classes for which it is
    defined. The minority form always averages over minority classes with support.
    """
    num_classes = probabilities.shape[1]
    each = [targets == c for c in range(num_classes)]
    precision = np.stack(
        [average_precision(each[c], probabilities[:, c], weights) for c in range(num_classes)], -1
    )
    area = np.stack([roc_auc(each[c], probabilities[:, c], weights) for c in range(num_classes)], -1)
    headline = np.array([False, True]) if num_classes == 2 else np.ones(num_classes, dtype=bool)
    return {
        "roc_auc": masked_mean(area, headline & ~np.isnan(area)),
        "average_precision": masked_mean(precision, headline & ~np.isnan(precision)),
        "minority_average_precision": masked_mean(precision, minority & ~np.isnan(precision)),
    }


def at_k(positive: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], k: int) -> dict[str, float]:
    """Give precision and recall among the k highest scores: what is found when k crystals can be tried.

    Where the k-th score is shared, the share of positives among the tied is taken (the mean over
    random orders).

    Args:
        positive: which samples are of the class.
        scores: its score, finite.
        k: at least 1; more than n counts as n.

    Returns:
        `precision` (NaN for no sample at all), `recall` (NaN without positives), `k` as used.
    """
    k = min(k, len(scores))
    tp, fp = _steps(positive, scores, None)
    called = tp + fp
    found = float(np.interp(k, np.append(0.0, called), np.append(0.0, tp)))
    total = float(tp[-1])
    return {"k": k, "precision": found / k, "recall": found / total if total else float("nan")}
