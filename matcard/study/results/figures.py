"""Figures of a study from its table of trials; each is also written as the numbers that it shows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
from matplotlib.ticker import MaxNLocator, NullFormatter

from matcard.evaluation import style
from matcard.evaluation.metrics import higher_is_better, metric_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matcard.study.search.parameter import Parameter

_COLUMNS = 3
"""Panels side by side."""
_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": style.SMALL}


def history_figure(table: pd.DataFrame, metric: str) -> Figure:
    """Draw the metric of each trial in the order of their numbers, and the best so far.

    Args:
        table: as `trial_table` gives it.
        metric: one of those that the study improves.
    """
    figure = style.new_figure(6.4, 3.2)
    axes = figure.add_subplot()
    done = table[table[metric].notna()].sort_values("number")
    axes.plot(done["number"], done[metric], "o", color=style.SKY, markersize=4.5, label="trial")
    best = done[metric].cummax() if higher_is_better(metric) else done[metric].cummin()
    axes.step(done["number"], best, where="post", color=style.BLUE, linewidth=1.6, label="best so far")
    _draw_defaults(axes, done, metric)
    for state, marker, label in (("pruned", "v", "pruned"), ("fail", "x", "failed")):
        numbers = table.loc[table["state"] == state, "number"]
        if len(numbers):
            at = axes.get_xaxis_transform()
            axes.plot(numbers, [0.03] * len(numbers), marker, color=style.GREY, markersize=4, transform=at, label=label)
    style.tidy(axes, grid="y", x="trial", y=metric_label(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **_LEGEND)
    return figure


def slices_figure(table: pd.DataFrame, metric: str, parameters: Sequence[Parameter]) -> Figure:
    """Draw the metric against each parameter by itself; darker points are later trials, a ring is the best."""
    done = table[table[metric].notna()].sort_values("number")
    shown = [p for p in parameters if p.name in done and done[p.name].notna().any()]
    columns = min(_COLUMNS, max(1, len(shown)))
    rows = -(-max(1, len(shown)) // columns)
    figure = style.new_figure(1.2 + 2.5 * columns, 0.4 + 2.3 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    best = best_number(done, metric)
    for k, (axes, parameter) in enumerate(itertools.zip_longest(panels, shown)):
        if parameter is None:
            axes.set_visible(False)
            continue
        used = done[done[parameter.name].notna()]
        x = _positions(axes, parameter, used)
        axes.scatter(x, used[metric], c=used["number"], s=18, **_later_darker(done))
        ringed = used["number"] == best
        axes.plot(x[ringed], used.loc[ringed, metric], "o", color="none", mec=style.VERMILLION, ms=9)
        style.tidy(axes, grid="y", x=parameter.name, y=metric_label(metric) if k % columns == 0 else None)
    return figure


def importances_figure(importances: Mapping[str, float], metric: str) -> Figure:
    """Draw how much of the metric's variation each parameter explains, the largest first."""
    names = sorted(importances, key=lambda name: -importances[name])
    figure = style.new_figure(5.6, 0.9 + 0.3 * max(2, len(names)))
    axes = figure.add_subplot()
    values = [importances[name] for name in names]
    axes.barh(range(len(names)), values, height=0.62, color=style.BLUE)
    for row, value in enumerate(values):
        axes.annotate(
            f"{value:.2f}", (value, row), (4, 0), textcoords="offset points", va="center", fontsize=style.SMALL
        )
    style.tidy(axes, grid="x", x=f"importance for {metric_label(metric)}, of 1 in all")
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.12 * max(values)))
    axes.tick_params(axis="y", length=0)
    return figure


def intermediate_figure(table: pd.DataFrame, reports: Mapping[int, Mapping[int, float]], metric: str) -> Figure:
    """Draw what each trial reported, epoch by epoch (or fold by fold), the best and the defaults in colour.

    Args:
        table: as `trial_table` gives it.
        reports: trial number -> step -> reported value.
        metric: what was reported.
    """
    figure = style.new_figure(6.4, 3.2)
    axes = figure.add_subplot()
    done = table[table[metric].notna()]
    best = best_number(done, metric) if len(done) else None
    states = table.set_index("number")["state"]
    defaults = set(table.loc[table["defaults"].astype(bool), "number"])
    for number, values in sorted(reports.items(), key=lambda item: (item[0] == best, item[0] in defaults)):
        steps = [step + 1 for step in values]
        look: dict[str, Any] = {"color": style.PALE, "linewidth": 1.0, "zorder": 1}
        if number == best:
            look = {"color": style.BLUE, "linewidth": 1.8, "zorder": 3, "label": f"best: trial {number}"}
        elif number in defaults:
            look = {"color": style.VERMILLION, "linewidth": 1.8, "zorder": 3, "label": "defaults"}
        axes.plot(steps, list(values.values()), **look)
        if states.get(number) == "pruned":
            axes.plot(steps[-1], list(values.values())[-1], "v", color=style.GREY, markersize=4, zorder=2)
    if (states == "pruned").any():
        axes.plot([], [], "v", color=style.GREY, markersize=4, label="pruned")
    style.tidy(axes, grid="y", x="epoch or fold", y=metric_label(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **_LEGEND)
    return figure


def pareto_figure(table: pd.DataFrame, metrics: Sequence[str], front: Sequence[int]) -> Figure:
    """Draw each pair of metrics against each other, the Pareto front in colour, the recommended trial ringed.

    Args:
        table: as `trial_table` gives it.
        metrics: those that the study improves.
        front: numbers of the trials of the front, the recommended one first.
    """
    done = table[table[list(metrics)].notna().all(axis=1)].set_index("number")
    pairs = list(itertools.combinations(metrics, 2))
    figure = style.new_figure(3.9 * len(pairs) + 0.6, 3.5)
    for axes, (x, y) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        best = done.loc[list(front)].sort_values(x)
        axes.plot(done[x], done[y], "o", color=style.SKY, markersize=4.5, alpha=0.8, label="trial")
        axes.plot(best[x], best[y], "-o", color=style.BLUE, markersize=6, linewidth=1.0, label="Pareto front")
        chosen = done.loc[front[0]]
        ring = {"color": "none", "markeredgecolor": style.VERMILLION, "markersize": 11}
        axes.plot(chosen[x], chosen[y], "o", **ring, label=f"best.yaml: trial {front[0]}")
        defaults = done[done["defaults"].astype(bool)]
        axes.plot(defaults[x], defaults[y], "D", color=style.VERMILLION, markersize=6, label="defaults")
        style.tidy(axes, grid="both", x=metric_label(x), y=metric_label(y))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=4, **_LEGEND)
    return figure


def best_number(done: pd.DataFrame, metric: str) -> int:
    """Give the number of the trial with the best value of a metric."""
    order = done.sort_values(metric, ascending=not higher_is_better(metric), kind="stable")
    return int(order["number"].iloc[0])


def scale_axis(axes: Axes, which: Literal["x", "y"], parameter: Parameter) -> None:
    """Let an axis run over the range of a parameter of numbers, with some room at its ends."""
    low, high = parameter.low, parameter.high
    room = (high / low) ** 0.04 if parameter.log else 0.04 * (high - low)
    ends = (low / room, high * room) if parameter.log else (low - room, high + room)
    axes.set(**{f"{which}scale": "log" if parameter.log else "linear", f"{which}lim": ends})
    if parameter.log:
        getattr(axes, f"{which}axis").set_minor_formatter(NullFormatter())


def _draw_defaults(axes: Axes, done: pd.DataFrame, metric: str) -> None:
    for value in done.loc[done["defaults"].astype(bool), metric].head(1):
        axes.axhline(value, color=style.VERMILLION, linewidth=1.0, linestyle=style.DASHED, label="defaults", zorder=0.9)


def _positions(axes: Axes, parameter: Parameter, used: pd.DataFrame) -> pd.Series:
    """Give where the trials stand on the axis of a parameter, and scale or label the axis."""
    if parameter.kind == "categorical":
        labels = [str(choice) for choice in parameter.choices]
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_xticks(range(len(labels)), [style.short(label, 18) for label in labels])
        if sum(map(len, labels)) > 22:
            for tick in axes.get_xticklabels():
                tick.set(rotation=30, ha="right", rotation_mode="anchor")
        # Moved a little from each other, the same way each time.
        jitter = (used["number"] * 0.618) % 1 * 0.36 - 0.18
        return used[parameter.name].map(lambda value: labels.index(str(value))).astype(float) + jitter
    scale_axis(axes, "x", parameter)
    return used[parameter.name].astype(float)


def _later_darker(done: pd.DataFrame) -> dict[str, Any]:
    last = done["number"].max()
    return {"cmap": matplotlib.colormaps["Blues"], "vmin": -0.7 * last - 1, "vmax": last}
