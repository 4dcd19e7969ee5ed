"""The two figures of every run: the confusion matrix, and recall per class with its interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.evaluation import style
from matcard.evaluation.confusion import ratio
from matcard.evaluation.intervals import successes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from jaxtyping import Float, Int
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME_WIDTH = 26
_SHARES_UP_TO = 12
"""With more classes a cell has room for its count alone, and none for a zero."""


def confusion_figure(
    confusion: Int[np.ndarray, "C C"], class_names: Sequence[str], minority_classes: Collection[str] = ()
) -> Figure:
    """Draw a confusion matrix: a count in each cell, coloured by the share of its true class.

    Args:
        confusion: counts, row = true class, column = predicted class.
        class_names: C names.
        minority_classes: those to mark.
    """
    num_classes = len(class_names)
    share = ratio(confusion, confusion.sum(axis=1, keepdims=True))
    names = [style.short(name, _NAME_WIDTH) for name in class_names]
    cell = max(0.27, 1.3 / num_classes**0.4 - 0.1)
    longest = 0.075 * max(map(len, names))
    turned = longest > cell
    side = cell * num_classes
    figure = style.new_figure(side + longest + 2.1, side + 1.1 + (longest if turned else 0))
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap=style.SHARES.with_extremes(bad=(0.5, 0.5, 0.5, 0.25)), vmin=0, vmax=1)
    _write_cells(axes, confusion, share)
    _label_classes(axes, names, confusion, turned=turned)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        _mark_minority(labels, class_names, minority_classes)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=22, pad=0.02)
    bar.set_label("share of the true class", fontsize=style.TEXT)
    bar.ax.tick_params(labelsize=style.SMALL, length=2)
    bar.outline.set_visible(False)
    if minority_classes:
        axes.set_title(
            "orange: minority classes",
            loc="left",
            fontsize=style.SMALL,
            color=style.VERMILLION,
            weight="bold",
        )
    return figure


def recall_figure(metrics: Mapping[str, Any]) -> Figure:
    """Draw recall per class with its Wilson interval, from the most to the least frequent, counts beside.

    Args:
        metrics: as `classification_metrics` gives it, or as read back from its JSON file.
    """
    rare = set(metrics["minority_classes"])
    names = sorted(metrics["recall"], key=lambda name: -metrics["recall"][name]["n"])
    recalls = [metrics["recall"][name] for name in names]
    rows = range(len(names))
    figure = style.new_figure(6.4, 1.35 + 0.27 * max(len(names), 3))
    axes = figure.add_subplot()
    for row, recall in enumerate(recalls):
        _draw_interval(axes, row, recall, rare=names[row] in rare)
    style.tidy(axes, grid="x", x="recall, with 95 % Wilson interval")
    axes.set(xlim=(-0.015, 1.015), ylim=(len(names) - 0.4, -0.6))
    axes.set_yticks(rows, [style.short(name, _NAME_WIDTH) for name in names])
    _mark_minority(axes.get_yticklabels(), names, rare)
    axes.tick_params(axis="y", length=0)
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(rows, [f"{successes(recall):,} of {recall['n']:,}" for recall in recalls])
    beside.tick_params(length=0, labelsize=style.SMALL, labelcolor=style.GREY)
    beside.spines["right"].set_visible(False)
    axes.annotate("found", (1, 1), (5, 0), "axes fraction", "offset points", fontsize=style.SMALL, color=style.GREY)
    _draw_mean(axes, metrics["balanced_accuracy"], style.BLUE, "all classes")
    _draw_mean(axes, metrics["minority_recall"], style.VERMILLION, "minority classes")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=2, fontsize=style.SMALL, frameon=False)
    return figure


def _label_classes(axes: Axes, names: Sequence[str], confusion: Int[np.ndarray, "C C"], *, turned: bool) -> None:
    gap = " " if turned else "\n"
    for axis, counts in ((axes.yaxis, confusion.sum(axis=1)), (axes.xaxis, confusion.sum(axis=0))):
        axis.set_ticks(range(len(names)), [f"{name}{gap}({n:,})" for name, n in zip(names, counts, strict=True)])
        axis.set_ticks(np.arange(len(names) + 1) - 0.5, minor=True)
    if turned:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.grid(which="minor", color=style.PALE, linewidth=0.6)
    axes.tick_params(which="both", length=0, labelsize=style.SMALL)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class (number predicted)", fontsize=style.TEXT)
    axes.set_ylabel("true class (number of samples)", fontsize=style.TEXT)


def _write_cells(axes: Axes, confusion: Int[np.ndarray, "C C"], share: Float[np.ndarray, "C C"]) -> None:
    roomy = len(confusion) <= _SHARES_UP_TO
    size = max(5.0, style.TEXT + 0.5 - 0.12 * len(confusion))
    for (row, column), count in np.ndenumerate(confusion):
        if not (count or roomy):
            continue
        text = f"{count:,}\n{share[row, column]:.0%}" if count and roomy else f"{count:,}"
        colour = "white" if share[row, column] > 0.55 else style.INK if count else style.GREY
        weight = "bold" if row == column else "normal"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour, weight=weight)


def _mark_minority(labels: Sequence[Any], names: Sequence[str], rare: Collection[str]) -> None:
    for label, name in zip(labels, names, strict=True):
        if name in rare:
            label.set(color=style.VERMILLION, weight="bold")


def _draw_interval(axes: Axes, row: int, recall: Mapping[str, Any], *, rare: bool) -> None:
    if not recall["n"]:
        axes.text(0.5, row, "no samples", ha="center", va="center", fontsize=style.SMALL, color=style.GREY)
        return
    colour, marker, size = (style.VERMILLION, "D", 6.0) if rare else (style.BLUE, "o", 6.5)
    axes.hlines(row, recall["low"], recall["high"], color=colour, linewidth=2.2, alpha=0.45)
    axes.plot(recall["value"], row, marker, color=colour, markersize=size, clip_on=False)


def _draw_mean(axes: Axes, value: float | None, colour: str, over: str) -> None:
    if value is not None and not math.isnan(value):
        label = f"mean over {over}: {value:.3f}"
        axes.axvline(value, color=colour, linewidth=1.1, linestyle=style.DASHED, zorder=0.9, label=label)
