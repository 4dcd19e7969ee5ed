"""The course of the training, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard.evaluation.curves import learning_figure
from matcard.evaluation.metrics import higher_is_better, metric_label

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


def best_epoch(run: FinishedRun) -> tuple[int, float]:
    """Give the epoch that was kept, from 1, and its monitored metric."""
    monitor = run.config["trainer"]["monitor"]
    values = [(int(float(row["epoch"])) + 1, float(row[f"val_{monitor}"])) for row in run.epochs]
    known = [(epoch, value) for epoch, value in values if value == value] or values
    sign = 1 if higher_is_better(monitor) else -1
    return max(known, key=lambda item: (sign * item[1], -item[0]))
