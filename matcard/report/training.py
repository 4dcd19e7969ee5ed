"""The course of the training, epoch by epoch: the losses, the validation metrics, and what the loss did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from matcard.errors import InputError
from matcard.evaluation import style
from matcard.evaluation.confusion import minority_mask
from matcard.evaluation.figures import BESIDE
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.report.html import paragraph, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float, Int
    from markupsafe import Markup
    from matplotlib.axes import Axes
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
_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
_MOST = len(_COLOURS)
"""Classes drawn one by one; of more, the minority together and the others together."""


def learning_curves(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the losses and the validation metrics; the best epoch is marked."""
    monitor = run.config["trainer"]["monitor"]
    label = metric_label(monitor)
    best, value = best_epoch(run.epochs, monitor)
    last = int(float(run.epochs[-1]["epoch"])) + 1
    kept = f"The weights of epoch {best} of {last} were kept: the best {label} on the validation part ({value:.3f})."
    if run.config["trainer"]["keep"] == "last":
        kept = f"The weights of the last epoch were kept; the best {label} is that of epoch {best} ({value:.3f})."
    elif best == last and last > 1:
        kept += " The last epoch was the best: longer training may still help."
    return figures.add(
        "learning",
        learning_figure(run.epochs, monitor),
        pd.DataFrame(run.epochs),
        alt=f"Training loss, validation log loss and validation scores over {last} epochs; the best {label} "
        f"of {value:.3f} is at epoch {best}.",
        caption=kept,
    )


def diagnostics(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw which class moved the network and how many errors were distinct, of a run with `--trainer.diagnostics`."""
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


def best_epoch(rows: Sequence[Mapping[str, str | float]], monitor: str) -> tuple[int, float]:
    """Give the first epoch, from 1, with the best of the monitored metric, and its value; NaN where it has none."""
    values = np.array([float(row[f"val_{monitor}"] or "nan") for row in rows])
    if np.isnan(values).all():
        return int(float(rows[0]["epoch"])) + 1, math.nan
    best = int(np.nanargmax(values) if higher_is_better(monitor) else np.nanargmin(values))
    return int(float(rows[best]["epoch"])) + 1, float(values[best])


def learning_figure(rows: Sequence[Mapping[str, str | float]], monitor: str) -> Figure:
    """Draw what happened epoch by epoch, the best epoch by the monitored metric marked.

    Args:
        rows: of `metrics.csv`, texts or numbers: `epoch` (from 0), `train_loss`, `val_<metric>`.
        monitor: the metric that chose the epoch.

    Raises:
        InputError: no rows, or no column of the monitored metric.
    """
    if not rows or f"val_{monitor}" not in rows[0]:
        raise InputError(f"expected rows with the column val_{monitor}, got {list(rows[0]) if rows else 'no row'}")
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}
    epoch = columns["epoch"] + 1
    figure = style.new_figure(9.6, 3.0)
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    draw_epochs(panels[0], epoch, columns["train_loss"], style.INK)
    draw_epochs(panels[1], epoch, columns["val_log_loss"], style.INK)
    shown = [name for name in dict.fromkeys([*_SCORES, monitor]) if higher_is_better(name)]
    for name in shown:
        values = columns.get(f"val_{name}", np.array([np.nan]))
        if not np.isnan(values).all():
            draw_epochs(panels[2], epoch, values, _SCORES.get(name, style.PURPLE), metric_label(name))
    panels[2].set_ylim(min(0.0, panels[2].get_ylim()[0]), 1.0)
    best, value = best_epoch(rows, monitor)
    titles = ("training loss", "validation log loss (nats)", "validation scores")
    for axes, title in zip(panels, titles, strict=True):
        style.tidy(axes, grid="y", x="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        if not math.isnan(value):
            label = f"epoch {best}: best\n{metric_label(monitor)}"
            axes.axvline(best, color=style.GREY, linewidth=1.0, linestyle=style.DOTTED, zorder=0.9, label=label)
    if panels[2].get_legend_handles_labels()[0]:
        panels[2].legend(**BESIDE)
    return figure


def draw_epochs(
    axes: Axes,
    epoch: Float[np.ndarray, " m"],
    values: Float[np.ndarray, " m"],
    colour: str,
    label: str | None = None,
) -> None:
    """Draw a value of each epoch, with markers where there are few."""
    marker = "o" if len(epoch) < 15 else None
    axes.plot(epoch, values, color=colour, linewidth=1.5, marker=marker, markersize=3.5, label=label)


def diagnostics_figure(
    rows: Sequence[Mapping[str, str | float]], class_names: Sequence[str], class_counts: Int[np.ndarray, " C"]
) -> Figure:
    """Draw the shares of the gradient and the number of distinct errors, epoch by epoch.

    Args:
        rows: of `metrics.csv`, texts or numbers, of a run with `--trainer.diagnostics true`: `epoch` (from 0),
            `gradient_share_<class>`, `effective_errors_magnitude`, `effective_errors_spread`.
        class_names: C names.
        class_counts: training samples of each class; a class's share of them is drawn dotted beside its gradient's.

    Raises:
        InputError: no rows, or columns that are missing.
    """
    counted = {"magnitude": style.BLUE, "spread": style.VERMILLION}
    shares_of, errors_by = (
        (f"gradient_share_{name}" for name in class_names),
        (f"effective_errors_{n}" for n in counted),
    )
    columns = ["epoch", *shares_of, *errors_by]
    if not rows or not set(columns) <= set(rows[0]):
        missing = [name for name in columns if not rows or name not in rows[0]]
        raise InputError(f"rows have no column {', '.join(missing)}: train with --trainer.diagnostics true")
    table = np.array([[float(row[name] or "nan") for name in columns] for row in rows])
    epoch, shares = table[:, 0] + 1, table[:, 1:-2]
    figure = style.new_figure(9.6, 3.2)
    left, right = figure.subplots(1, 2)
    for (label, values, of_samples), colour in zip(_lines(shares, class_names, class_counts), _COLOURS, strict=False):
        draw_epochs(left, epoch, values, colour, f"{label} ({of_samples:.1%} of samples)")
        left.axhline(of_samples, color=colour, linewidth=0.9, linestyle=style.DOTTED)
    for (label, colour), values in zip(counted.items(), table[:, -2:].T, strict=True):
        draw_epochs(right, epoch, values, colour, label)
    left.set_ylim(0, 1)
    right.set_ylim(0, 1.05 * max(1.0, np.nan_to_num(table[:, -2:]).max()))
    titles = ("share of the gradient (dotted: of the samples)", "distinct errors in a batch")
    for axes, title in zip((left, right), titles, strict=True):
        style.tidy(axes, grid="y", x="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.legend(frameon=False, fontsize=style.SMALL, loc="center left", bbox_to_anchor=(1.0, 0.5))
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
