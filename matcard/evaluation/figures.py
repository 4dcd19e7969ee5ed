"""The figures of a run: confusions, intervals of proportions, learning, reliability, precision against recall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from matcard.evaluation import style
from matcard.evaluation.calibration import reliability
from matcard.evaluation.confusion import confusion_matrix, ratio, successes, wilson_bounds
from matcard.evaluation.metrics import ranking_steps, undefined

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from jaxtyping import Float, Int
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matcard.evaluation.calibration import Reliability
    from matcard.evaluation.confusion import Interval

MAX_CURVES = 6
"""Classes in the figure of precision against recall."""
_NAME_WIDTH = 26
_SHARES_UP_TO = 12
"""With more classes a cell has room for its count alone, and none for a zero."""
_COLOURS = (style.VERMILLION, style.BLUE, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
BESIDE: dict[str, Any] = {
    "loc": "center left",
    "bbox_to_anchor": (1.0, 0.5),
    "frameon": False,
    "fontsize": style.SMALL,
    "title_fontsize": style.SMALL,
}


def confusion_figure(
    confusion: Int[np.ndarray, "C C"], class_names: Sequence[str], minority_classes: Collection[str] = ()
) -> Figure:
    """Draw a confusion matrix, row = true class: a count in each cell, coloured by the share of its true class."""
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
        look: dict[str, Any] = {"fontsize": style.SMALL, "color": style.VERMILLION, "weight": "bold"}
        axes.set_title("orange: minority classes", loc="left", **look)
    return figure


class Series(NamedTuple):
    """Proportions of one kind, one for each row of the figure."""

    label: str
    colour: str
    marker: str
    values: Sequence[Interval | Mapping[str, float]]


ALL = ("all classes", style.BLUE, "o")
MINORITY = ("minority classes", style.VERMILLION, "D")


def interval_figure(
    rows: Sequence[str],
    series: Sequence[Series],
    x: str,
    *,
    marked: Collection[str] = (),
    beside: Sequence[str] = (),
) -> Figure:
    """Draw proportions with their intervals, a row a name and a mark a series.

    Args:
        rows: names of the rows, from the top.
        series: what is drawn in each row; a value over no case (n = 0) is left out.
        x: what the proportion is.
        marked: names to mark as those of minority classes.
        beside: texts at the right of the rows.
    """
    step = 0.62 / len(series)
    figure = style.new_figure(5.8, 1.15 + (0.2 + 0.13 * len(series)) * max(len(rows), 3))
    axes = figure.add_subplot()
    for k, (label, colour, marker, values) in enumerate(series):
        shift = (k - (len(series) - 1) / 2) * step
        shown = [(row + shift, value) for row, value in enumerate(values) if value["n"]]
        if not shown:
            continue
        places = [place for place, _ in shown]
        lows, highs, points = ([value[key] for _, value in shown] for key in ("low", "high", "value"))
        axes.hlines(places, lows, highs, color=colour, linewidth=2.0, alpha=0.45)
        axes.plot(points, places, marker, color=colour, markersize=5.5, clip_on=False, label=label)
    for row in range(len(rows)):
        if not any(item.values[row]["n"] for item in series):
            axes.text(0.5, row, "no samples", ha="center", va="center", fontsize=style.SMALL, color=style.GREY)
    style.tidy(axes, grid="x", x=x)
    axes.set(xlim=(-0.015, 1.015), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [style.short(name, _NAME_WIDTH) for name in rows])
    _mark_minority(axes.get_yticklabels(), rows, marked)
    axes.tick_params(axis="y", length=0)
    if beside:
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(rows)), beside)
        right.tick_params(length=0, labelsize=style.SMALL, labelcolor=style.GREY)
        right.spines["right"].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=2, fontsize=style.SMALL, frameon=False)
    return figure


def recall_figure(metrics: Mapping[str, Any]) -> Figure:
    """Draw recall per class with its Wilson interval, from the most to the least frequent, counts beside."""
    names = sorted(metrics["recall"], key=lambda name: -metrics["recall"][name]["n"])
    recalls = [metrics["recall"][name] for name in names]
    series = [Series("_recall", style.BLUE, "o", recalls)]  # not in the legend, which is of the means
    beside = [f"{successes(recall):,} of {recall['n']:,} found" for recall in recalls]
    x = "recall, with 95 % Wilson interval"
    figure = interval_figure(names, series, x, marked=metrics["minority_classes"], beside=beside)
    for average, colour, over in (
        ("balanced_accuracy", style.BLUE, "all classes"),
        ("minority_recall", style.VERMILLION, "minority classes"),
    ):
        value = metrics[average]
        if not undefined(value):
            label = f"mean over {over}: {value:.3f}"
            figure.axes[0].axvline(value, color=colour, linewidth=1.1, linestyle=style.DASHED, zorder=0.9, label=label)
    if figure.axes[0].get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=2, fontsize=style.SMALL, frameon=False)
    return figure


def reliability_figure(bins: Reliability) -> Figure:
    """Draw accuracy against confidence with Wilson intervals, and below it the samples in each bin."""
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
    """Draw precision against recall of up to six classes, each beside its prevalence (what chance would give)."""
    figure = style.new_figure(5.8, 3.4)
    axes = figure.add_subplot()
    for name, colour in zip(shown, _COLOURS, strict=False):  # those without samples are left out
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
        axes.legend(title="average precision\n(dotted: prevalence)", alignment="left", **BESIDE)
    return figure


def distinct_figure(
    scales: Sequence[float], shares: Float[np.ndarray, "S C"], class_names: Sequence[str], chosen: float
) -> Figure:
    """Draw which share of each class is distinct against the scale, up to six classes: those with the least.

    Args:
        scales: S of them, ascending.
        shares: distinct samples of each class by its samples, at each scale; NaN of a class without samples.
        class_names: C names.
        chosen: the scale to mark.
    """
    figure = style.new_figure(5.6, 2.6)
    axes = figure.subplots()
    order = np.argsort(shares[list(scales).index(chosen)], kind="stable")[:MAX_CURVES]
    for label, colour in zip(order.tolist(), _COLOURS, strict=False):
        name = style.short(class_names[label], _NAME_WIDTH)
        axes.plot(scales, shares[:, label], color=colour, linewidth=1.5, marker="o", markersize=3.5, label=name)
    axes.axvline(chosen, color=style.GREY, linewidth=1.0, linestyle=style.DOTTED, zorder=0.9, label=f"scale {chosen:g}")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05)
    style.tidy(axes, grid="y", x="scale (one over the median distance)", title="distinct share of the training part")
    axes.legend(**BESIDE)
    return figure


def write_figures(
    folder: Path,
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    metrics: dict[str, Any],
) -> None:
    """Draw confusion.svg, recall.svg, precision_recall.svg and reliability.svg."""
    names, rare = list(metrics["recall"]), metrics["minority_classes"]
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), len(names))
    support = {name: metrics["recall"][name]["n"] for name in names}
    shown = sorted(filter(support.__getitem__, names), key=support.__getitem__)[:MAX_CURVES]
    for name, figure in (
        ("confusion", confusion_figure(confusion, names, rare)),
        ("recall", recall_figure(metrics)),
        ("precision_recall", precision_recall_figure(targets, probabilities, names, shown)),
        ("reliability", reliability_figure(reliability(targets, probabilities))),
    ):
        style.save_figure(figure, folder / f"{name}.svg")


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
