"""The course of the training, epoch by epoch: the losses and the validation metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.evaluation import style
from matcard.evaluation.figures import BESIDE
from matcard.evaluation.metrics import higher_is_better, metric_label

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup
    from matplotlib.figure import Figure

    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun

_SCORES = {
    "macro_f1": style.BLUE,
    "minority_recall": style.VERMILLION,
    "balanced_accuracy": style.SKY,
    "average_precision": style.GREEN,
    "accuracy": style.GREY,
}


def learning_curves(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the losses and the validation metrics; the best epoch is marked."""
    monitor = run.config["trainer"]["monitor"]
    label = metric_label(monitor)
    best, value = best_epoch(run.epochs, monitor)
    last = int(run.epochs["epoch"].iloc[-1]) + 1
    kept = f"The weights of epoch {best} of {last} were kept: the best {label} on the validation part ({value:.3f})."
    if run.config["trainer"]["keep"] == "last":
        kept = f"The weights of the last epoch were kept; the best {label} is that of epoch {best} ({value:.3f})."
    elif best == last and last > 1:
        kept += " The last epoch was the best: longer training may still help."
    return figures.add(
        "learning",
        learning_figure(run.epochs, monitor),
        run.epochs,
        alt=f"Training loss, validation log loss and validation scores over {last} epochs; the best {label} "
        f"of {value:.3f} is at epoch {best}.",
        caption=kept,
    )


def best_epoch(epochs: pd.DataFrame, monitor: str) -> tuple[int, float]:
    """Give the first epoch, from 1, with the best of the monitored metric, and its value; NaN where it has none."""
    values = epochs[f"val_{monitor}"].to_numpy(np.float64)
    if np.isnan(values).all():
        return int(epochs["epoch"].iloc[0]) + 1, math.nan
    best = int(np.nanargmax(values) if higher_is_better(monitor) else np.nanargmin(values))
    return int(epochs["epoch"].iloc[best]) + 1, float(values[best])


def learning_figure(epochs: pd.DataFrame, monitor: str) -> Figure:
    """Draw what happened epoch by epoch, the best epoch by the monitored metric marked.

    Args:
        epochs: `metrics.csv`: `epoch` (from 0), `train_loss`, `val_<metric>`.
        monitor: the metric that chose the epoch.
    """
    figure = style.new_figure(9.6, 3.0)
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    epoch = epochs["epoch"] + 1
    look: dict[str, Any] = {"linewidth": 1.5, "markersize": 3.5, "marker": "o" if len(epochs) < 15 else None}
    panels[0].plot(epoch, epochs["train_loss"], color=style.INK, **look)
    panels[1].plot(epoch, epochs["val_log_loss"], color=style.INK, **look)
    for name in filter(higher_is_better, dict.fromkeys([*_SCORES, monitor])):
        if f"val_{name}" in epochs and epochs[f"val_{name}"].notna().any():
            colour = _SCORES.get(name, style.PURPLE)
            panels[2].plot(epoch, epochs[f"val_{name}"], color=colour, label=metric_label(name), **look)
    panels[2].set_ylim(min(0.0, panels[2].get_ylim()[0]), 1.0)
    best, value = best_epoch(epochs, monitor)
    if not math.isnan(value):
        label = f"epoch {best}: best\n{metric_label(monitor)}"
        for axes in panels:
            axes.axvline(best, color=style.GREY, linewidth=1.0, linestyle=style.DOTTED, zorder=0.9, label=label)
    titles = ("training loss", "validation log loss (nats)", "validation scores")
    for axes, title in zip(panels, titles, strict=True):
        style.tidy(axes, grid="y", x="epoch", title=title)
        axes.locator_params(axis="x", integer=True, nbins=6)
    if panels[2].get_legend_handles_labels()[0]:
        panels[2].legend(**BESIDE)
    return figure
