"""All that is said of a classifier on one labelled set: at argmax, at the decision rule, calibrated, with intervals."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.evaluation.bootstrap import bootstrap_intervals
from matcard.evaluation.calibration import brier, log_loss, reliability
from matcard.evaluation.confusion import confusion_matrix
from matcard.evaluation.curves import precision_recall_figure, reliability_figure
from matcard.evaluation.metrics import metrics_beside_argmax
from matcard.evaluation.plots import confusion_figure, recall_figure
from matcard.evaluation.ranking import per_class_ranking
from matcard.evaluation.style import save_figure

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float, Int

    from matcard.evaluation.calibration import Temperature
    from matcard.evaluation.thresholds import Decision

RESAMPLED = 30_000_000
"""Scores that are resampled for intervals, some seconds of work."""
RESAMPLES = (100, 1000)
"""Resamples at least and at most: large sets, whose intervals are narrow, get fewer."""
MAX_CURVES = 6
"""Classes in the figure of precision against recall: the rarest."""


def scored(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    *,
    train_counts: Int[np.ndarray, " C"],
    decision: Decision,
    temperature: Temperature,
    seed: int = 0,
) -> dict[str, Any]:
    """Give every metric of one set of predictions, as it stands in `test_metrics.json`.

    Args:
        targets: class indices.
        probabilities: one row a sample, as the network gives them.
        train_counts: class counts of the training part.
        decision: rule chosen on validation.
        temperature: fitted on validation.
        seed: of the bootstrap.

    Returns:
        `matcard.evaluation.classification_metrics` at argmax, and:

        * `intervals` {metric: (low, high)}: 95 % bootstrap intervals of the averages;
        * `ranking` {class: average_precision, prevalence, roc_auc, at_k}, where `at_k` is a list of k, precision and
          recall;
        * `at_decision`: the metrics at the decision rule, with `rule` and their `intervals`;
        * `reliability` {confidence, accuracy, total}: of the bins of the calibration error;
        * `calibrated`: temperature, log_loss, brier, ece and reliability of the probabilities at the temperature.

    Raises:
        InputError: malformed input.
    """
    beside = metrics_beside_argmax(targets, probabilities, train_counts=train_counts, decision=decision)
    resample = partial(
        bootstrap_intervals,
        targets,
        probabilities,
        train_counts=train_counts,
        resamples=int(np.clip(RESAMPLED // probabilities.size, *RESAMPLES)),
        seed=seed,
    )
    calibrated = temperature.apply(probabilities)
    bins = reliability(targets, calibrated)
    return {
        **beside["argmax"],
        "intervals": resample(),
        "ranking": per_class_ranking(targets, probabilities, decision.class_names),
        "at_decision": {
            "rule": beside["rule"],
            **beside["chosen"],
            "intervals": resample(predicted=decision.apply(probabilities), ranking=False),
        },
        "reliability": reliability(targets, probabilities)._asdict(),
        "calibrated": {
            "temperature": temperature.value,
            "log_loss": log_loss(targets, calibrated),
            "brier": brier(targets, calibrated),
            "ece": bins.ece,
            "reliability": bins._asdict(),
        },
    }


def write_figures(
    folder: Path,
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    metrics: dict[str, Any],
) -> None:
    """Draw confusion.png, recall.png, precision_recall.png and reliability.png.

    Args:
        folder: where to.
        targets: class indices.
        probabilities: one row a sample.
        metrics: of `scored`.
    """
    names, rare = list(metrics["recall"]), metrics["minority_classes"]
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), len(names))
    support = {name: metrics["recall"][name]["n"] for name in names}
    shown = sorted(filter(support.__getitem__, names), key=support.__getitem__)[:MAX_CURVES]
    save_figure(confusion_figure(confusion, names, rare), folder / "confusion.png")
    save_figure(recall_figure(metrics), folder / "recall.png")
    curves = precision_recall_figure(targets, probabilities, names, shown)
    save_figure(curves, folder / "precision_recall.png")
    save_figure(reliability_figure(reliability(targets, probabilities)), folder / "reliability.png")
