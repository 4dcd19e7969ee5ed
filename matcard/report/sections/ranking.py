"""What no threshold can change: precision against recall, and whether the probabilities are true."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from matcard.errors import MatcardWarning
from matcard.evaluation.calibration import fit_temperature, reliability
from matcard.evaluation.curves import precision_recall_figure, reliability_figure
from matcard.evaluation.intervals import wilson_bounds
from matcard.evaluation.ranking import average_precision, ranking_steps
from matcard.report.html import paragraph, score, table

if TYPE_CHECKING:
    from matcard.report.finished import FinishedRun
    from matcard.report.folder import FigureFolder

_SHOWN = 6


def precision_recall(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw precision against recall of the rarest classes, and list average precision beside prevalence."""
    import pandas as pd

    targets, probabilities = run.test.targets, run.test.probabilities
    counts, support = run.counts("train"), np.bincount(targets, minlength=len(run.class_names))
    rarest = [c for c in np.argsort(counts, kind="stable").tolist() if support[c]]
    shown = [run.class_names[c] for c in rarest[:_SHOWN]]
    scores = {c: average_precision(targets == c, probabilities[:, c]) for c in rarest}
    curves = [_curve(run.class_names[c], targets == c, probabilities[:, c]) for c in rarest]
    which = "the classes" if len(shown) == len(run.class_names) else f"the {len(shown)} rarest classes"
    drawn = figures.add(
        "precision-recall",
        precision_recall_figure(targets, probabilities, run.class_names, shown),
        pd.concat(curves, ignore_index=True),
        alt=f"Precision against recall of {which}; average precision: "
        + "; ".join(f"{run.class_names[c]} {scores[c]:.3f}" for c in rarest[:_SHOWN]),
        caption=f"Precision against recall on the test part, {which} each against the rest. A ranking by chance would "
        "follow the dotted line.",
    )
    minority = run.minority
    rows = [
        (run.class_names[c], score(scores[c]), score(support[c] / len(targets)), f"{scores[c] * len(targets) / support[c]:.1f}")
        for c in rarest
    ]  # fmt: skip
    return drawn + table(
        ("class", "average precision", "prevalence", "times chance"), rows,
        caption="Average precision on the test part beside prevalence, which is what chance gives",
        marked=[k for k, c in enumerate(rarest) if minority[c]],
    )  # fmt: skip


def calibration(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw how often a probability is right, and say what temperature scaling would do."""
    import pandas as pd

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
    val = run.parts["val"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatcardWarning)
        temperature = fit_temperature(val.targets, val.probabilities)
    after = reliability(run.test.targets, temperature.apply(run.test.probabilities)).ece
    sure = "too sure" if temperature.value > 1 else "not sure enough"
    return (
        f"Temperature scaling, fitted on the validation part, gives T = {temperature.value:.2f} (the network is {sure}) "
        f"and would take the calibration error on the test part from {ece:.3f} to {after:.3f}. It changes no "
        "predicted class."
    )


def _curve(name: str, positive: np.ndarray, scores: np.ndarray):  # type: ignore[no-untyped-def]  # noqa: ANN202
    import pandas as pd

    tp, fp = ranking_steps(positive, scores)
    return pd.DataFrame({"class": name, "recall": tp / tp[-1], "precision": tp / (tp + fp), "predicted": tp + fp})
