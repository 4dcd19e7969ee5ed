"""The course of the training, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.evaluation.curves import diagnostics_figure, learning_figure
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.report.html import paragraph, share

if TYPE_CHECKING:
    from markupsafe import Markup

    from matcard.report.folder import FigureFolder
    from matcard.training.finished import FinishedRun


def learning_curves(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the losses and the validation metrics; the kept epoch is marked."""
    import pandas as pd

    monitor = run.config["trainer"]["monitor"]
    label = metric_label(monitor)
    best, value = best_epoch(run)
    last = int(float(run.epochs[-1]["epoch"])) + 1
    late = "The last epoch was the best: longer training may still help." if best == last and last > 1 else ""
    return figures.add(
        "learning",
        learning_figure(run.epochs, monitor),
        pd.DataFrame(run.epochs),
        alt=f"Training loss, validation log loss and validation scores over {last} epochs; the best {label} "
        f"of {value:.3f} is at epoch {best}.",
        caption=f"The weights of epoch {best} of {last} were kept: the best {label} on the validation part "
        f"({value:.3f}). {late}",
    )


def diagnostics(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw which class moved the network and how many errors were distinct, of a run with `--trainer.diagnostics`."""
    import pandas as pd

    rows, counts = pd.DataFrame(run.epochs), run.counts("train")
    logged = [name for name in run.epochs[0] if name.startswith(("gradient_share_", "effective_errors_"))]
    mine, of_samples = _minority_shares(run)
    rare = (
        f"In the last epoch the minority classes had {share(mine)} of the gradient and {share(of_samples)} of the "
        "samples. "
        if run.minority.any()
        else ""
    )
    return paragraph(
        "Whom the loss listened to, and how many different mistakes were left. The share of the gradient is the length "
        "of the loss's gradient at the embeddings of a class, summed over its samples, by that of all: above its "
        "dotted line a class counts for more than its number. Distinct errors are the magnitude and the spread of the "
        "errors of a batch, where those less than about a tenth apart count as one. As few as there are classes: all "
        "samples are given nearly the same probabilities."
    ) + figures.add(
        "diagnostics",
        diagnostics_figure(run.epochs, run.class_names, counts),
        rows[["epoch", *logged]],
        alt=f"Share of the gradient of each class and number of distinct errors over {len(rows)} epochs. {rare}",
        caption=f"Means over the training steps of each epoch. {rare}",
    )


def _minority_shares(run: FinishedRun) -> tuple[float, float]:
    """Give the share of the last epoch's gradient, and of the training samples, that the minority classes have."""
    counts, rare = run.counts("train"), run.minority
    shares = [float(run.epochs[-1][f"gradient_share_{name}"] or "nan") for name in run.class_names]
    return float(np.array(shares)[rare].sum()), float(counts[rare].sum() / counts.sum())


def best_epoch(run: FinishedRun) -> tuple[int, float]:
    """Give the epoch that was kept, from 1, and its monitored metric."""
    monitor = run.config["trainer"]["monitor"]
    values = [(int(float(row["epoch"])) + 1, float(row[f"val_{monitor}"])) for row in run.epochs]
    known = [(epoch, value) for epoch, value in values if value == value] or values
    sign = 1 if higher_is_better(monitor) else -1
    return max(known, key=lambda item: (sign * item[1], -item[0]))
