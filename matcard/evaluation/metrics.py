"""Every number that is said about a classifier, from targets and probabilities; numpy alone.

Undefined is NaN, never 0; averages run over classes with support, and their number stands beside them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from matcard.errors import InputError, nearest_names
from matcard.evaluation.calibration import brier, log_loss, reliability
from matcard.evaluation.checks import check_class_names, check_counts, check_labels, check_predictions
from matcard.evaluation.confusion import confusion_averages, confusion_matrix
from matcard.evaluation.groups import minority_mask, shot_recall
from matcard.evaluation.intervals import Interval, wilson, wilson_f1
from matcard.evaluation.jsonfile import to_json
from matcard.evaluation.ranking import ranking_averages

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from jaxtyping import Float, Int

    from matcard.evaluation.thresholds import Decision

__all__ = [
    "classification_metrics",
    "higher_is_better",
    "metric_label",
    "metric_names",
    "metrics_beside_argmax",
    "to_json",
]


class _Metric(NamedTuple):
    label: str
    higher_is_better: bool
    of_classes: bool
    """Whether it looks at the predicted classes, which a decision rule changes, and not at probabilities."""


_METRICS = {
    "minority_recall": _Metric("minority-phase recall", True, True),
    "balanced_accuracy": _Metric("balanced accuracy", True, True),
    "macro_f1": _Metric("macro-F1", True, True),
    "macro_precision": _Metric("macro-precision", True, True),
    "g_mean": _Metric("G-mean", True, True),
    "mcc": _Metric("MCC", True, True),
    "accuracy": _Metric("accuracy", True, True),
    "average_precision": _Metric("average precision", True, False),
    "minority_average_precision": _Metric("minority average precision", True, False),
    "roc_auc": _Metric("ROC-AUC", True, False),
    "ece": _Metric("calibration error", False, False),
    "brier": _Metric("Brier score", False, False),
    "log_loss": _Metric("log loss", False, False),
}


def metric_names() -> list[str]:
    """Give the metrics that are one number, each a key of `classification_metrics`."""
    return list(_METRICS)


def higher_is_better(name: str) -> bool:
    """Give the direction of a metric; whatever selects by it reads this.

    Raises:
        InputError: no such metric; the nearest names are given.
    """
    return _metric(name).higher_is_better


def metrics_of_classes() -> list[str]:
    """Give the metrics that a decision rule changes."""
    return [name for name, metric in _METRICS.items() if metric.of_classes]


def metrics_of_probabilities() -> list[str]:
    """Give the metrics that no decision rule changes."""
    return [name for name, metric in _METRICS.items() if not metric.of_classes]


def metric_label(name: str) -> str:
    """Give a metric's name as it is written in tables and figures.

    Raises:
        InputError: no such metric; the nearest names are given.
    """
    return _metric(name).label


def _metric(name: str) -> _Metric:
    if name not in _METRICS:
        raise InputError(f"unknown metric {name!r}; {nearest_names(name, _METRICS)}")
    return _METRICS[name]


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
        targets: class indices.
        probabilities: one row a sample, summing to one.
        class_names: C different names.
        train_counts: class counts of the *training* part: they say which classes are minority.
        predicted: class indices, when a threshold made them; argmax by default. Ranking and calibration
            metrics do not depend on it.

    Returns:
        The numbers named by `metric_names`, and:

        * `n`, `classes_with_support`, `classes_predicted` (of those; macro-precision is over them);
        * `prevalence` {class: share of these samples};
        * `recall`, `precision`, `f1` {class: value, low, high (95 % Wilson), n}, where n is the support, the
          number predicted, the number true or predicted;
        * `minority_classes` (share of the training part below 1/C), `minority_classes_with_support`;
        * `shots`: recall over many-, medium- and few-shot classes.

    Raises:
        InputError: empty or malformed input; the message names the rows.
    """
    names = check_class_names(class_names)
    targets, probabilities = check_predictions(targets, probabilities, len(names))
    counts = check_counts(train_counts, len(names))
    called = probabilities.argmax(axis=1) if predicted is None else check_labels(predicted, len(names), "predicted")
    if len(called) != len(targets):
        raise InputError(f"{len(targets)} targets but {len(called)} predicted classes")
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
        "classes_predicted": int(((support > 0) & (confusion.sum(axis=0) > 0)).sum()),
        "prevalence": dict(zip(names, (support / len(targets)).tolist(), strict=True)),
        **_per_class(confusion, names),
        "minority_classes": [name for name, rare in zip(names, minority, strict=True) if rare],
        "minority_classes_with_support": int((minority & (support > 0)).sum()),
        "shots": shot_recall(confusion, counts),
    }


def metrics_beside_argmax(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    *,
    train_counts: Int[np.ndarray, " C"],
    decision: Decision,
) -> dict[str, Any]:
    """Give `rule`, and `classification_metrics` with it (`chosen`) and at argmax (`argmax`).

    Only together do they say what a loss has moved: the ranking, or the operating point.
    """
    score = partial(
        classification_metrics,
        targets,
        probabilities,
        class_names=decision.class_names,
        train_counts=train_counts,
    )
    return {
        "rule": decision.rule,
        "chosen": score(predicted=decision.apply(probabilities)),
        "argmax": score(),
    }


def _per_class(confusion: Int[np.ndarray, "C C"], names: list[str]) -> dict[str, dict[str, Interval]]:
    rows = zip(
        names,
        confusion.diagonal().tolist(),
        confusion.sum(1).tolist(),
        confusion.sum(0).tolist(),
        strict=True,
    )
    recall, precision, f1 = {}, {}, {}
    for name, hits, support, called in rows:
        recall[name] = wilson(hits, support)
        precision[name] = wilson(hits, called)
        f1[name] = wilson_f1(hits, support + called - 2 * hits)
    return {"recall": recall, "precision": precision, "f1": f1}
