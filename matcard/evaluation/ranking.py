"""Metrics of the order of scores: no threshold changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np

from matcard.errors import InputError
from matcard.evaluation.confusion import masked_mean, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Int


class Steps(NamedTuple):
    """True and false positives when all samples down to the i-th distinct score are called positive."""

    tp: Float[np.ndarray, "*batch m"]
    fp: Float[np.ndarray, "*batch m"]

    def roc_auc(self) -> Float[np.ndarray, "*batch"]:
        """Trapezoids under the ROC curve."""
        tp_before = np.concatenate([np.zeros_like(self.tp[..., :1]), self.tp[..., :-1]], axis=-1)
        area = (np.diff(self.fp, axis=-1, prepend=0.0) * (self.tp + tp_before) / 2).sum(axis=-1)
        return ratio(area, self.tp[..., -1] * self.fp[..., -1])

    def average_precision(self) -> Float[np.ndarray, "*batch"]:
        """Sum of (R_i - R_{i-1}) P_i."""
        precision = np.nan_to_num(ratio(self.tp, self.tp + self.fp))
        return ratio((np.diff(self.tp, axis=-1, prepend=0.0) * precision).sum(axis=-1), self.tp[..., -1])


def ranking_steps(
    positive: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, "*batch n"] | None = None,
) -> Steps:
    """Count down the scores; ties go together.

    Args:
        positive: which samples are of the class.
        scores: its score, finite.
        weights: a weight a sample, non-negative (the counts of a bootstrap resample); 1 by default.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hit = positive[order]
    weight = np.ones(len(order)) if weights is None else weights[..., order]
    return Steps(*(np.cumsum(weight * mask, axis=-1)[..., ends] for mask in (hit, ~hit)))


def roc_auc(positive: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    """Give the chance that a positive outscores a negative, ties one half; NaN without either."""
    return float(ranking_steps(positive, scores).roc_auc())


def average_precision(positive: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    """Give average precision; a random order gives the prevalence. NaN without positives."""
    return float(ranking_steps(positive, scores).average_precision())


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
    steps = [ranking_steps(targets == c, probabilities[:, c], weights) for c in range(num_classes)]
    area = np.stack([step.roc_auc() for step in steps], axis=-1)
    precision = np.stack([step.average_precision() for step in steps], axis=-1)
    headline = np.array([False, True]) if num_classes == 2 else np.ones(num_classes, dtype=bool)
    return {
        "roc_auc": masked_mean(area, headline & ~np.isnan(area)),
        "average_precision": masked_mean(precision, headline & ~np.isnan(precision)),
        "minority_average_precision": masked_mean(precision, minority & ~np.isnan(precision)),
    }


class AtK(NamedTuple):
    """Precision and recall among the `k` highest scores; recall is NaN without positives."""

    k: int
    precision: float
    recall: float


def at_k(positive: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], k: int) -> AtK:
    """Give precision and recall when only k samples can be tried, the highest scores first.

    Where the k-th score is shared, the tied count by their share of positives (the mean over orders).

    Args:
        positive: which samples are of the class.
        scores: its score, finite.
        k: more than n counts as n.

    Raises:
        InputError: k below 1.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    k = min(k, len(scores))
    tp, fp = ranking_steps(positive, scores)
    found = float(np.interp(k, np.append(0.0, tp + fp), np.append(0.0, tp)))
    return AtK(k, precision=found / k, recall=float(ratio(np.asarray(found), tp[-1])))


class ClassRanking(TypedDict):
    """How well the score of one class puts its samples first; NaN where undefined."""

    average_precision: float
    prevalence: float
    roc_auc: float
    at_k: list[dict[str, float]]


def per_class_ranking(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], class_names: Sequence[str]
) -> dict[str, ClassRanking]:
    """Give the ranking of each class against the rest: average precision beside prevalence, ROC-AUC, at k.

    k is 10, 100 and 1000 as far as there are so many samples, and the number of the class's samples, at which
    precision and recall are equal.
    """
    found = {}
    for c, name in enumerate(class_names):
        positive, scores = targets == c, probabilities[:, c]
        steps = ranking_steps(positive, scores)
        ks = {k for k in (10, 100, 1000) if k <= len(scores)} | ({int(positive.sum())} - {0})
        found[name] = ClassRanking(
            average_precision=float(steps.average_precision()),
            prevalence=float(positive.mean()),
            roc_auc=float(steps.roc_auc()),
            at_k=[at_k(positive, scores, k)._asdict() for k in sorted(ks)],
        )
    return found
