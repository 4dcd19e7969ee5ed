"""What no threshold can change: precision against recall, and whether the probabilities are true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.evaluation.calibration import reliability
from matcard.evaluation.confusion import wilson_bounds
from matcard.evaluation.figures import MAX_CURVES, precision_recall_figure, reliability_figure
from matcard.evaluation.metrics import ranking_steps
from matcard.report.html import DASH, paragraph, score, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Bool, Float
    from markupsafe import Markup

    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun


_ENOUGH = 10
"""Samples of a class from which its curve has a shape."""
_DEPTHS = (10, 100, 1000)


def precision_recall(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw precision against recall of the rarest classes, and list average precision beside prevalence."""
    targets, probabilities, ranking = run.test.targets, run.test.probabilities, run.metrics["ranking"]
    counts, support = run.counts("train"), run.counts("test")
    rarest = [c for c in np.argsort(counts, kind="stable").tolist() if support[c]]
    names = [run.class_names[c] for c in rarest]
    enough = [run.class_names[c] for c in rarest if support[c] >= _ENOUGH]
    shown = (enough or names)[:MAX_CURVES]
    curves = [_curve(name, targets == c, probabilities[:, c]) for name, c in zip(names, rarest, strict=True)]
    which = "the classes"
    if len(shown) < len(run.class_names):
        which = f"the {len(shown)} rarest classes" + (f" with {_ENOUGH} or more {run.noun}s" if enough else "")
    drawn = figures.add(
        "precision-recall",
        precision_recall_figure(targets, probabilities, run.class_names, shown),
        pd.concat(curves, ignore_index=True),
        alt=f"Precision against recall of {which}; average precision: "
        + "; ".join(f"{name} {ranking[name]['average_precision']:.3f}" for name in shown),
        caption=f"Precision against recall on the test part, {which} each against the rest. A ranking by chance would "
        "follow the dotted line.",
    )
    minority = run.minority
    depths = [k for k in _DEPTHS if any(found["k"] == k for name in names for found in ranking[name]["at_k"])]
    rows = [_ranking_row(name, ranking[name], depths) for name in names]
    return drawn + table(
        ("class", "average precision", "prevalence", "times chance", "ROC-AUC", *_headings(depths)),
        rows,
        caption="Average precision on the test part beside prevalence, which is what chance gives, and how many of the "
        f"{run.noun}s with the highest scores are of the class",
        marked=[k for k, c in enumerate(rarest) if minority[c]],
    )


def _headings(depths: Sequence[int]) -> list[str]:
    return [f"among the first {k}" if k == depths[0] else f"{k:,}" for k in depths]


def _ranking_row(name: str, ranking: Mapping[str, Any], depths: Sequence[int]) -> tuple[str, ...]:
    precision, prevalence = ranking["average_precision"], ranking["prevalence"]
    hits = {found["k"]: f"{found['precision'] * found['k']:.0f}" for found in ranking["at_k"]}
    return (
        name, score(precision), score(prevalence), f"{precision / prevalence:.1f}", score(ranking["roc_auc"]),
        *(hits.get(k, DASH) for k in depths),
    )  # fmt: skip


def calibration(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw how often a probability is right, and say what temperature scaling would do."""
    bins = reliability(run.test.targets, run.test.probabilities)
    edges = np.linspace(0, 1, len(bins.total) + 1)
    low, high = wilson_bounds(np.nan_to_num(bins.accuracy) * bins.total, bins.total)
    drawn = figures.add(
        "reliability",
        reliability_figure(bins),
        pd.DataFrame(
            {
                "from": edges[:-1], "to": edges[1:], "samples": bins.total, "confidence": bins.confidence,
                "accuracy": bins.accuracy, "accuracy_low": low, "accuracy_high": high,
            }
        ),
        alt=f"Accuracy against confidence in {len(bins.total)} bins; expected calibration error {bins.ece:.3f}.",
        caption="Accuracy against the probability of the predicted class, test part. Below the diagonal the network "
        "is too sure of itself, above it not sure enough.",
    )  # fmt: skip
    return drawn + paragraph(_temperature(run, bins.ece))


def _temperature(run: FinishedRun, ece: float) -> str:
    after = run.metrics["calibrated"]
    sure = "too sure" if after["temperature"] > 1 else "not sure enough"
    return (
        f"Temperature scaling, fitted on the validation part, gives T = {after['temperature']:.2f} (the network is "
        f"{sure}) and takes the calibration error on the test part from {ece:.3f} to {after['ece']:.3f}, the log loss "
        f"from {run.metrics['log_loss']:.3f} to {after['log_loss']:.3f}. It changes no predicted class."
    )


def _curve(name: str, positive: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> pd.DataFrame:
    tp, fp = ranking_steps(positive, scores)
    return pd.DataFrame({"class": name, "recall": tp / tp[-1], "precision": tp / (tp + fp), "predicted": tp + fp})
