"""Figures of curves: learning, reliability, precision against recall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.errors import InputError
from matcard.evaluation import style
from matcard.evaluation.intervals import wilson_bounds
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.evaluation.ranking import ranking_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float, Int
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matcard.evaluation.calibration import Reliability

_SCORES = {
    "macro_f1": style.BLUE,
    "minority_recall": style.VERMILLION,
    "balanced_accuracy": style.SKY,
    "average_precision": style.GREEN,
    "accuracy": style.GREY,
}
_COLOURS = (style.VERMILLION, style.BLUE, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
_BESIDE: dict[str, Any] = {
    "loc": "center left",
    "bbox_to_anchor": (1.0, 0.5),
    "frameon": False,
    "fontsize": style.SMALL,
    "title_fontsize": style.SMALL,
}


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
    best = _best_epoch(epoch, columns[f"val_{monitor}"], higher_is_better(monitor))
    titles = ("training loss", "validation log loss (nats)", "validation scores")
    for axes, title in zip(panels, titles, strict=True):
        style.tidy(axes, grid="y", x="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        if best is not None:
            label = f"epoch {best}: best\n{metric_label(monitor)}"
            axes.axvline(best, color=style.GREY, linewidth=1.0, linestyle=style.DOTTED, zorder=0.9, label=label)
    if panels[2].get_legend_handles_labels()[0]:
        panels[2].legend(**_BESIDE)
    return figure


def reliability_figure(bins: Reliability) -> Figure:
    """Draw accuracy against confidence with Wilson intervals, and below it the samples in each bin.

    Args:
        bins: as `reliability` gives it.
    """
    figure = style.new_figure(3.8, 4.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    filled = bins.total > 0
    confidence, accuracy = bins.confidence[filled], bins.accuracy[filled]
    upper.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.9, linestyle=style.DASHED)
    upper.vlines(confidence, *wilson_bounds(accuracy * bins.total[filled], bins.total[filled]), style.BLUE, alpha=0.4)
    upper.plot(confidence, accuracy, color=style.BLUE, linewidth=1.4, marker="o", markersize=5, clip_on=False)
    upper.set(xlim=(0, 1), ylim=(0, 1))
    edges = np.linspace(0, 1, len(bins.total) + 1)
    lower.stairs(bins.total, edges, fill=True, color=style.SKY)
    style.tidy(upper, grid="both", y="accuracy", title=f"expected calibration error {bins.ece:.3f}")
    style.tidy(lower, grid="y", x="probability of the predicted class", y="samples")
    return figure


def precision_recall_figure(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    shown: Sequence[str],
) -> Figure:
    """Draw precision against recall of some classes, each beside its prevalence (what chance would give).

    Args:
        targets: class indices.
        probabilities: one row a sample.
        class_names: C names.
        shown: the classes to draw, at most six; those without samples are left out.

    Raises:
        InputError: more than six classes, or one that is unknown.
    """
    if len(shown) > len(_COLOURS) or not set(shown) <= set(class_names):
        raise InputError(f"give at most {len(_COLOURS)} of {', '.join(class_names)}; got {', '.join(shown)}")
    figure = style.new_figure(5.8, 3.4)
    axes = figure.add_subplot()
    for name, colour in zip(shown, _COLOURS, strict=False):
        c = list(class_names).index(name)
        positive = targets == c
        if not positive.any():
            continue
        steps = ranking_steps(positive, probabilities[:, c])
        recall, precision = steps.tp / steps.tp[-1], steps.tp / (steps.tp + steps.fp)
        label = f"{style.short(name, 24)}: {float(steps.average_precision()):.3f}"
        axes.plot(np.append(0, recall), np.append(precision[0], precision), color=colour, linewidth=1.4, label=label)
        axes.axhline(positive.mean(), color=colour, linewidth=0.9, linestyle=style.DOTTED)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    style.tidy(axes, grid="both", x="recall", y="precision")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="average precision\n(dotted: prevalence)", alignment="left", **_BESIDE)
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


def _best_epoch(epoch: Float[np.ndarray, " m"], values: Float[np.ndarray, " m"], higher: bool) -> int | None:
    if np.isnan(values).all():
        return None
    return int(epoch[np.nanargmax(values) if higher else np.nanargmin(values)])
