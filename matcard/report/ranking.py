"""What no threshold can change: precision against recall, whether probabilities are true, the predicted numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from matcard.evaluation import style
from matcard.evaluation.calibration import reliability
from matcard.evaluation.confusion import wilson_bounds
from matcard.evaluation.figures import MAX_CURVES, precision_recall_figure, reliability_figure
from matcard.evaluation.metrics import ranking_steps
from matcard.evaluation.printed import value_lines
from matcard.report.page import paragraph, score, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun


_ENOUGH = 10
"""Samples of a class from which its curve has a shape."""


def precision_recall(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw precision against recall of the rarest classes, and list average precision beside prevalence."""
    targets, probabilities, ranking = run.test.targets, run.test.probabilities, run.metrics["ranking"]
    counts, support = run.counts("train"), run.counts("test")
    rarest = [c for c in np.argsort(counts, kind="stable").tolist() if support[c]]
    names = [run.class_names[c] for c in rarest]
    enough = [run.class_names[c] for c in rarest if support[c] >= _ENOUGH]
    shown = (enough or names)[:MAX_CURVES]
    curves = []
    for name, c in zip(names, rarest, strict=True):
        tp, fp = ranking_steps(targets == c, probabilities[:, c])
        called = tp + fp
        curves.append(
            pd.DataFrame({"class": name, "recall": tp / tp[-1], "precision": tp / called, "predicted": called})
        )
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
    rows = []
    for name in names:
        precision, prevalence = ranking[name]["average_precision"], ranking[name]["prevalence"]
        scores = (score(precision), score(prevalence), f"{precision / prevalence:.1f}", score(ranking[name]["roc_auc"]))
        rows.append((name, *scores))
    return drawn + table(
        ("class", "average precision", "prevalence", "times chance", "ROC-AUC"),
        rows,
        caption="Average precision on the test part beside prevalence, which is what chance gives",
        marked=[k for k, c in enumerate(rarest) if minority[c]],
    )


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
    after = run.metrics["calibrated"]
    sure = "too sure" if after["temperature"] > 1 else "not sure enough"
    return drawn + paragraph(
        f"Temperature scaling, fitted on the validation part, gives T = {after['temperature']:.2f} (the network is "
        f"{sure}) and takes the calibration error on the test part from {bins.ece:.3f} to {after['ece']:.3f}, the log "
        f"loss from {run.metrics['log_loss']:.3f} to {after['log_loss']:.3f}. It changes no predicted class."
    )


def values(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw each predicted number of the test part against the true one, and say how far apart they are."""
    drawn = Markup("")
    for k, name in enumerate(run.metrics["values"]["numbers"]):
        table = run.numbers(name)
        drawn += figures.add(
            f"parity-{k + 1}",
            parity_figure(table, name),
            table,
            alt=f"Predicted against true {name} of {len(table)} {run.noun}s of the test part.",
            caption=f"Predicted against true {name}, test part; on the dashed line they are the same.",
        )
    return drawn + Markup("").join(paragraph(f"{line}.") for line in value_lines(run.metrics))


def parity_figure(table: pd.DataFrame, name: str) -> Figure:
    """Draw the column `predicted` against `true`, both on the same scale."""
    figure = style.new_figure(3.8, 3.8)
    axes = figure.add_subplot()
    ends = [table[["true", "predicted"]].min().min(), table[["true", "predicted"]].max().max()]
    axes.plot(ends, ends, color=style.GREY, linewidth=0.9, linestyle=style.DASHED)
    axes.plot(table["true"], table["predicted"], "o", color=style.BLUE, markersize=3, alpha=0.4, markeredgewidth=0)
    axes.set_aspect("equal", adjustable="datalim")
    style.tidy(axes, grid="both", x=f"true {name}", y=f"predicted {name}")
    return figure
