"""Proportions with their intervals, side by side: two decisions, two runs, groups of crystals."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from matcard.evaluation import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matcard.evaluation.intervals import Interval

_NAME_WIDTH = 24


class Series(NamedTuple):
    """Proportions of one kind, one for each row of the figure."""

    label: str
    colour: str
    marker: str
    values: Sequence[Interval | Mapping[str, float]]


ALL = ("all classes", style.BLUE, "o")
MINORITY = ("minority classes", style.VERMILLION, "D")


def interval_figure(
    rows: Sequence[str], series: Sequence[Series], x: str, *, marked: Sequence[str] = (), counts: bool = False
) -> Figure:
    """Draw proportions with their intervals, a row a name and a mark a series.

    Args:
        rows: names of the rows, from the top.
        series: what is drawn in each row; a value over no case (n = 0) is left out.
        x: what the proportion is.
        marked: names to mark as those of minority classes.
        counts: whether the number of cases stands at the right, that of the first series first.
    """
    step = 0.62 / len(series) if len(series) > 1 else 0.0
    figure = style.new_figure(5.2, 1.05 + (0.2 + 0.13 * len(series)) * max(len(rows), 3))
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
    style.tidy(axes, grid="x", x=x)
    axes.set(xlim=(-0.015, 1.015), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [style.short(name, _NAME_WIDTH) for name in rows])
    axes.tick_params(axis="y", length=0)
    for name, tick in zip(rows, axes.get_yticklabels(), strict=True):
        if name in marked:
            tick.set(color=style.VERMILLION, weight="bold")
    if counts:
        _write_counts(axes, series)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=2, fontsize=style.SMALL, frameon=False)
    return figure


def _write_counts(axes: Axes, series: Sequence[Series]) -> None:
    rows = zip(*(item.values for item in series), strict=True)
    texts = [" / ".join(f"{value['n']:,.0f}" for value in values) for values in rows]
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(range(len(texts)), texts)
    beside.tick_params(length=0, labelsize=style.SMALL, labelcolor=style.GREY)
    beside.spines["right"].set_visible(False)
