"""Every number that is said about a classifier, from targets and probabilities.

Undefined is NaN, never 0; averages run over classes with support, and their number stands beside them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from matcard.errors import InputError, nearest_names
from matcard.evaluation.calibration import brier, log_loss, reliability
from matcard.evaluation.confusion import (
    Counts,
    Interval,
    check_predictions,
    confusion_averages,
    confusion_matrix,
    masked_mean,
    minority_mask,
    ratio,
    shot_recall,
    wilson,
    wilson_f1,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Bool, Float, Int


class Metric(NamedTuple):
    """What is known of a metric.

    Attributes:
        label: its name in tables and figures.
        higher_is_better: its direction.
        of_classes: whether it looks at the predicted classes, which a decision rule changes, and not at probabilities.
        bounds: its least and its largest value.
    """

    label: str
    higher_is_better: bool
    of_classes: bool
    bounds: tuple[float, float] = (0.0, 1.0)


METRICS = {
    "minority_recall": Metric("minority-phase recall", True, True),
    "balanced_accuracy": Metric("balanced accuracy", True, True),
    "macro_f1": Metric("macro-F1", True, True),
    "g_mean": Metric("G-mean", True, True),
    "mcc": Metric("MCC", True, True, (-1.0, 1.0)),
    "accuracy": Metric("accuracy", True, True),
    "average_precision": Metric("average precision", True, False),
    "minority_average_precision": Metric("minority average precision", True, False),
    "roc_auc": Metric("ROC-AUC", True, False),
    "ece": Metric("calibration error", False, False),
    "brier": Metric("Brier score", False, False, (0.0, 2.0)),
    "log_loss": Metric("log loss", False, False, (0.0, math.inf)),
}


def metric_names(of_classes: bool | None = None) -> list[str]:
    """Give the metrics that are one number, each a key of `classification_metrics`.

    Args:
        of_classes: only those that a decision rule changes (True), or only those that it does not (False).
    """
    return [name for name, metric in METRICS.items() if of_classes in (None, metric.of_classes)]


def higher_is_better(name: str) -> bool:
    """Give the direction of a metric; whatever selects by it reads this. Raises as `find_metric`."""
    return find_metric(name).higher_is_better


def metric_label(name: str) -> str:
    """Give a metric's name as it is written in tables and figures. Raises as `find_metric`."""
    return find_metric(name).label


def find_metric(name: str, known: Mapping[str, Metric] = METRICS) -> Metric:
    """Give a metric by its name.

    Raises:
        InputError: no such metric; the nearest names are given.
    """
    if name not in known:
        raise InputError(f"unknown metric {name!r}; {nearest_names(name, known)}")
    return known[name]


def undefined(value: float | None) -> bool:
    """Say whether a metric is NaN, or the null that it is in a JSON file."""
    return value is None or math.isnan(value)


def classification_metrics(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    *,
    class_names: Sequence[str],
    train_counts: Int[np.ndarray, " C"],
    predicted: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Any]:
    """Give all metrics of one set of predictions as plain Python numbers.

    Args:
        targets: classes.
        probabilities: of the classes.
        class_names: their names.
        train_counts: they say which classes are minority.
        predicted: class indices, when a threshold made them; argmax by default. Ranking and calibration
            metrics do not depend on it.

    Returns:
        The numbers named by `metric_names`, and:

        * `n`, `classes_with_support`;
        * `prevalence` {class: share of these samples};
        * `recall`, `precision`, `f1` {class: value, low, high (95 % Wilson), n}, where n is the support, the
          number predicted, the number true or predicted;
        * `minority_classes` (share of the training part below 1/C), `minority_classes_with_support`;
        * `shots`: recall over many-, medium- and few-shot classes.

    Raises:
        InputError: empty or malformed input; the message names the rows.
    """
    names, counts = list(class_names), np.asarray(train_counts)
    targets, probabilities = check_predictions(targets, probabilities, len(names))
    called = probabilities.argmax(axis=1) if predicted is None else predicted
    minority = minority_mask(counts)
    confusion = confusion_matrix(targets, called, len(names))
    support = confusion.sum(axis=1)
    averages = confusion_averages(confusion, minority) | ranking_averages(targets, probabilities, minority)
    numbers = {name: float(value) for name, value in averages.items()} | {
        "log_loss": log_loss(targets, probabilities),
        "brier": brier(targets, probabilities),
        "ece": reliability(targets, probabilities).ece,
    }
    return {
        **{name: numbers[name] for name in metric_names()},
        "n": len(targets),
        "classes_with_support": int((support > 0).sum()),
        "prevalence": dict(zip(names, (support / len(targets)).tolist(), strict=True)),
        **_per_class(confusion, names),
        "minority_classes": [name for name, rare in zip(names, minority, strict=True) if rare],
        "minority_classes_with_support": int((minority & (support > 0)).sum()),
        "shots": shot_recall(confusion, counts),
    }


def _per_class(confusion: Int[np.ndarray, "C C"], names: list[str]) -> dict[str, dict[str, Interval]]:
    found: dict[str, dict[str, Interval]] = {"recall": {}, "precision": {}, "f1": {}}
    for name, *counts in zip(names, *Counts.of(confusion), strict=True):
        hits, support, called = map(int, counts)
        found["recall"][name] = wilson(hits, support)
        found["precision"][name] = wilson(hits, called)
        found["f1"][name] = wilson_f1(hits, support + called - 2 * hits)
    return found


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

    def at_k(self, k: int) -> dict[str, float]:
        """Precision and recall (NaN without positives) when only k samples can be tried, the highest scores first.

        Where the k-th score is shared, the tied count by their share of positives (the mean over orders).
        """
        called = np.append(0.0, self.tp + self.fp)
        found = np.interp(k, called, np.append(0.0, self.tp))
        return {"k": k, "precision": float(found / k), "recall": float(ratio(found, self.tp[-1]))}


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


def per_class_ranking(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Say how well the score of each class puts its samples first; NaN where undefined.

    Returns:
        for each class `average_precision`, `prevalence`, `roc_auc`, and `at_k` for k = 10, 100 and 1000 as far as there
        are so many samples, and for the number of the class's samples, at which precision and recall are equal.
    """
    found = {}
    for c, name in enumerate(class_names):
        positive, scores = targets == c, probabilities[:, c]
        steps = ranking_steps(positive, scores)
        ks = {k for k in (10, 100, 1000) if k <= len(scores)} | ({int(positive.sum())} - {0})
        found[name] = {
            "average_precision": float(steps.average_precision()),
            "prevalence": float(positive.mean()),
            "roc_auc": float(steps.roc_auc()),
            "at_k": [steps.at_k(k) for k in sorted(ks)],
        }
    return found
