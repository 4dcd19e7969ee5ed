"""The course of the training, epoch by epoch: the losses, the validation metrics, and what the loss did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError
from matcard.evaluation import style
from matcard.evaluation.confusion import minority_mask
from matcard.evaluation.figures import BESIDE
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.report.page import paragraph, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from jaxtyping import Float, Int
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun

_SCORES = {
    "macro_f1": style.BLUE,
    "minority_recall": style.VERMILLION,
    "balanced_accuracy": style.SKY,
    "average_precision": style.GREEN,
    "accuracy": style.GREY,
}
_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
_ERRORS = {"effective_errors_magnitude": style.BLUE, "effective_errors_spread": style.VERMILLION}
_MOST = len(_COLOURS)
"""Classes drawn one by one; of more, the minority together and the others together."""


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


def diagnostics(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw which class moved the network and how many errors were distinct, of a run with `--trainer.diagnostics`."""
    epochs, counts = run.epochs, run.counts("train")
    columns = [f"gradient_share_{name}" for name in run.class_names]
    rare = ""
    if run.minority.any():
        mine = epochs[columns].iloc[-1].to_numpy()[run.minority].sum()
        of_samples = counts[run.minority].sum() / counts.sum()
        rare = (
            f"In the last epoch the minority classes had {share(mine)} of the gradient and {share(of_samples)} of the "
            "samples. "
        )
    return paragraph(
        "Whom the loss listened to, and how many different mistakes were left. The share of the gradient is the length "
        "of the loss's gradient at the embeddings of a class, summed over its samples, by that of all: above its "
        "dotted line a class counts for more than its number. Distinct errors are the magnitude and the spread of the "
        "errors of a batch, where those less than about a tenth apart count as one. As few as there are classes: all "
        "samples are given nearly the same probabilities."
    ) + figures.add(
        "diagnostics",
        diagnostics_figure(epochs, run.class_names, counts),
        epochs[["epoch", *columns, *_ERRORS]],
        alt=f"Share of the gradient of each class and number of distinct errors over {len(epochs)} epochs. {rare}",
        caption=f"Means over the training steps of each epoch. {rare}",
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
    _draw_epochs(panels[0], epochs, epochs["train_loss"], style.INK)
    _draw_epochs(panels[1], epochs, epochs["val_log_loss"], style.INK)
    for name in filter(higher_is_better, dict.fromkeys([*_SCORES, monitor])):
        if f"val_{name}" in epochs and epochs[f"val_{name}"].notna().any():
            colour = _SCORES.get(name, style.PURPLE)
            _draw_epochs(panels[2], epochs, epochs[f"val_{name}"], colour, metric_label(name))
    panels[2].set_ylim(min(0.0, panels[2].get_ylim()[0]), 1.0)
    best, value = best_epoch(epochs, monitor)
    if not math.isnan(value):
        label = f"epoch {best}: best\n{metric_label(monitor)}"
        for axes in panels:
            axes.axvline(best, color=style.GREY, linewidth=1.0, linestyle=style.DOTTED, zorder=0.9, label=label)
    _finish(panels, ("training loss", "validation log loss (nats)", "validation scores"))
    if panels[2].get_legend_handles_labels()[0]:
        panels[2].legend(**BESIDE)
    return figure


def _draw_epochs(axes: Axes, epochs: pd.DataFrame, values: ArrayLike, colour: str, label: str | None = None) -> None:
    """Draw a value of each epoch, with markers where there are few."""
    marker = "o" if len(epochs) < 15 else None
    axes.plot(epochs["epoch"] + 1, values, color=colour, linewidth=1.5, marker=marker, markersize=3.5, label=label)


def _finish(panels: Sequence[Axes], titles: Sequence[str]) -> None:
    for axes, title in zip(panels, titles, strict=True):
        style.tidy(axes, grid="y", x="epoch", title=title)
        axes.locator_params(axis="x", integer=True, nbins=6)


def diagnostics_figure(epochs: pd.DataFrame, class_names: Sequence[str], class_counts: Int[np.ndarray, " C"]) -> Figure:
    """Draw the shares of the gradient and the number of distinct errors, epoch by epoch.

    Args:
        epochs: `metrics.csv` of a run with `--trainer.diagnostics true`: `epoch` (from 0), `gradient_share_<class>`,
            `effective_errors_magnitude`, `effective_errors_spread`.
        class_names: C names.
        class_counts: training samples of each class; a class's share of them is drawn dotted beside its gradient's.

    Raises:
        InputError: no rows, or columns that are missing.
    """
    columns = [f"gradient_share_{name}" for name in class_names]
    if missing := [name for name in ("epoch", *columns, *_ERRORS) if name not in epochs]:
        raise InputError(f"rows have no column {', '.join(missing)}: train with --trainer.diagnostics true")
    figure = style.new_figure(9.6, 3.2)
    left, right = figure.subplots(1, 2)
    lines = _lines(epochs[columns].to_numpy(), class_names, class_counts)
    for (label, values, of_samples), colour in zip(lines, _COLOURS, strict=False):
        _draw_epochs(left, epochs, values, colour, f"{label} ({of_samples:.1%} of samples)")
        left.axhline(of_samples, color=colour, linewidth=0.9, linestyle=style.DOTTED)
    for name, colour in _ERRORS.items():
        _draw_epochs(right, epochs, epochs[name], colour, name.removeprefix("effective_errors_"))
    left.set_ylim(0, 1)
    right.set_ylim(0, 1.05 * max(1.0, np.nan_to_num(epochs[list(_ERRORS)]).max()))
    _finish((left, right), ("share of the gradient (dotted: of the samples)", "distinct errors in a batch"))
    for axes in (left, right):
        axes.legend(**BESIDE)
    return figure


def _lines(
    shares: Float[np.ndarray, "epochs C"], names: Sequence[str], counts: Int[np.ndarray, " C"]
) -> list[tuple[str, Float[np.ndarray, " epochs"], float]]:
    """Give label, shares of the gradient and share of the samples of each line, the largest class first."""
    of_samples = counts / counts.sum()
    if len(names) <= _MOST:
        order = np.argsort(-counts, kind="stable")
        return [(style.short(names[c], 24), shares[:, c], float(of_samples[c])) for c in order]
    rare = minority_mask(counts)
    groups = {f"{(~rare).sum()} common classes": ~rare, f"{rare.sum()} minority classes": rare}
    return [(label, shares[:, of].sum(1), float(of_samples[of].sum())) for label, of in groups.items() if of.any()]
