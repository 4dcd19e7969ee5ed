"""Figures of a study from its table of trials; each is also written as the numbers that it shows."""

from __future__ import annotations

import itertools
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator, NullFormatter
from matplotlib.tri import LinearTriInterpolator, Triangulation
from optuna.distributions import CategoricalDistribution
from optuna.importance import get_param_importances

from matcard.evaluation import style
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.files import written_whole
from matcard.study.trials import ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matcard.study.settings import StudyDir
    from matcard.study.space import Parameter, Space

PAIR = ("loss.scale", "loss.lambda_invariant")
"""The parameters whose contour is drawn where both are searched."""
_FEWEST = 4
"""Trials without which importances say nothing."""
_FEWEST_ON_SURFACE = 6
"""With fewer points there is no landscape to be drawn, only the points."""
_GRID = 80
_COLUMNS = 3
"""Panels side by side."""
_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": style.SMALL}
_RING: dict[str, Any] = {"color": "none", "markeredgecolor": style.VERMILLION, "markersize": 10}


def write_figures(
    folder: StudyDir, study: optuna.Study, table: pd.DataFrame, metrics: Sequence[str], space: Space
) -> None:
    """Draw the figures that the trials allow, each with its numbers beside it as CSV."""

    def save(name: str, figure: Figure, rows: pd.DataFrame) -> None:
        style.save_figure(figure, folder.figures / f"{name}.svg")
        with written_whole(folder.figures / f"{name}.csv") as beside:
            rows.to_csv(beside, index=False)

    if not (table["state"] == "complete").any():
        return
    searched = [parameter for parameter in space.parameters if parameter.name in table]
    values = table[["number", *metrics, *(parameter.name for parameter in searched)]]
    for k, metric in enumerate(metrics):
        suffix = f"_{metric}" if len(metrics) > 1 else ""
        done = table[table[metric].notna()]
        save(f"history{suffix}", history_figure(table, metric), table[["number", "state", "defaults", metric]])
        save(f"slices{suffix}", slices_figure(done, metric, searched), values)
        if len(done) >= _FEWEST and done[metric].nunique() > 1:
            importances = _importances(study, metric, k)
            save(f"importances{suffix}", importances_figure(importances, metric), importances)
        pair = [parameter for name in PAIR for parameter in searched if parameter.name == name]
        if len(pair) == len(PAIR) and done[list(PAIR)].notna().all(axis=1).any():
            by = next((parameter.name for parameter in searched if parameter.sets is not None), None)
            save(f"contour{suffix}", contour_figure(done, metric, pair[0], pair[1], by), values)
    reports = {t.number: sorted(t.intermediate_values.items()) for t in study.get_trials(deepcopy=False)}
    steps = [(number, step, value) for number, reported in reports.items() for step, value in reported]
    if steps:
        rows = pd.DataFrame(steps, columns=["number", "step", metrics[0]])
        save("intermediate", intermediate_figure(table, rows, metrics[0]), rows)
    if len(metrics) > 1:
        front = [trial.number for trial in ranked(study, metrics)]
        save("pareto", pareto_figure(table, metrics, front), values.assign(front=table["number"].isin(front)))


def _importances(study: optuna.Study, metric: str, k: int) -> pd.DataFrame:
    """Give the importances of parameters for good values of one metric, the largest first."""
    sign = -1 if higher_is_better(metric) else 1  # the importance is for low values
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes the importances", UserWarning)
        found = get_param_importances(study, target=lambda trial: sign * trial.values[k])
    return pd.DataFrame(found.items(), columns=["parameter", "importance"])


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
    for value in done.loc[done["defaults"].astype(bool), metric].head(1):
        axes.axhline(value, color=style.VERMILLION, linewidth=1.0, linestyle=style.DASHED, label="defaults", zorder=0.9)
    for state, marker, label in (("pruned", "v", "pruned"), ("fail", "x", "failed")):
        numbers = table.loc[table["state"] == state, "number"]
        if len(numbers):
            at = axes.get_xaxis_transform()
            axes.plot(numbers, [0.03] * len(numbers), marker, color=style.GREY, markersize=4, transform=at, label=label)
    _finish(axes, "trial", metric)
    return figure


def intermediate_figure(table: pd.DataFrame, reports: pd.DataFrame, metric: str) -> Figure:
    """Draw what each trial reported, epoch by epoch (or fold by fold), the best and the defaults in colour.

    Args:
        table: as `trial_table` gives it.
        reports: `number` of the trial, `step`, and the reported value under the metric's name.
        metric: what was reported.
    """
    figure = style.new_figure(6.4, 3.2)
    axes = figure.add_subplot()
    done = table[table[metric].notna()]
    best = best_number(done, metric) if len(done) else None
    looks: dict[Any, dict[str, Any]] = {
        number: {"color": style.VERMILLION, "zorder": 2.9, "label": "defaults"}
        for number in table.loc[table["defaults"].astype(bool), "number"]
    }
    looks[best] = {"color": style.BLUE, "zorder": 3.0, "label": f"best: trial {best}"}
    for number, reported in reports.groupby("number"):
        look = {"color": style.PALE, "linewidth": 1.8 if number in looks else 1.0, **looks.get(number, {})}
        axes.plot(reported["step"] + 1, reported[metric], **look)
    last = reports.groupby("number").tail(1)
    pruned = last[last["number"].isin(table.loc[table["state"] == "pruned", "number"])]
    if len(pruned):
        axes.plot(pruned["step"] + 1, pruned[metric], "v", color=style.GREY, markersize=4, zorder=2, label="pruned")
    _finish(axes, "epoch or fold", metric)
    return figure


def _finish(axes: Axes, x: str, metric: str) -> None:
    """Label axes over whole numbers, and say beside them what is drawn."""
    style.tidy(axes, grid="y", x=x, y=metric_label(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **_LEGEND)


def slices_figure(done: pd.DataFrame, metric: str, parameters: Sequence[Parameter]) -> Figure:
    """Draw the metric against each parameter by itself; darker points are later trials, a ring is the best."""
    shown = [parameter for parameter in parameters if done[parameter.name].notna().any()]
    columns = min(_COLUMNS, max(1, len(shown)))
    rows = -(-max(1, len(shown)) // columns)
    figure = style.new_figure(1.2 + 2.5 * columns, 0.4 + 2.3 * rows)
    best, last = best_number(done, metric), done["number"].max()
    later_darker = {"cmap": matplotlib.colormaps["Blues"], "vmin": -0.7 * last - 1, "vmax": last}
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for k, (axes, parameter) in enumerate(itertools.zip_longest(panels, shown)):
        if parameter is None:
            axes.set_visible(False)
            continue
        used = done[done[parameter.name].notna()]
        x = used[parameter.name].astype(float) if not parameter.choices else used[parameter.name].astype(str)
        if parameter.choices:  # as words, each with a place of its own on the axis
            x = x.map(lambda label: style.short(label, 18))
        axes.scatter(x, used[metric], c=used["number"], s=18, **later_darker)
        ringed = used["number"] == best
        axes.plot(x[ringed], used.loc[ringed, metric], "o", **_RING)
        style.tidy(axes, grid="y", x=parameter.name, y=metric_label(metric) if k % columns == 0 else None)
        if not parameter.choices:
            _scale_axis(axes, "x", parameter)
        else:
            axes.margins(x=0.3)
            axes.tick_params(axis="x", rotation=25 if sum(map(len, map(str, parameter.choices))) > 22 else 0)
    return figure


def importances_figure(importances: pd.DataFrame, metric: str) -> Figure:
    """Draw how much of the metric's variation each `parameter` explains: its `importance`, the largest first."""
    figure = style.new_figure(5.6, 0.9 + 0.3 * max(2, len(importances)))
    axes = figure.add_subplot()
    bars = axes.barh(range(len(importances)), importances["importance"], height=0.62, color=style.BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=4, fontsize=style.SMALL)
    style.tidy(axes, grid="x", x=f"importance for {metric_label(metric)}, of 1 in all")
    axes.set_yticks(range(len(importances)), importances["parameter"])
    axes.set(ylim=(len(importances) - 0.4, -0.6), xlim=(0, 1.12 * importances["importance"].max()))
    axes.tick_params(axis="y", length=0)
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
        best, defaults = done.loc[list(front)].sort_values(x), done[done["defaults"].astype(bool)]
        axes.plot(done[x], done[y], "o", color=style.SKY, markersize=4.5, alpha=0.8, label="trial")
        axes.plot(best[x], best[y], "-o", color=style.BLUE, markersize=6, linewidth=1.0, label="Pareto front")
        axes.plot(*done.loc[front[0], [x, y]], "o", **_RING, label=f"best.yaml: trial {front[0]}")
        axes.plot(defaults[x], defaults[y], "D", color=style.VERMILLION, markersize=6, label="defaults")
        style.tidy(axes, grid="both", x=metric_label(x), y=metric_label(y))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=4, **_LEGEND)
    return figure


def contour_figure(done: pd.DataFrame, metric: str, x: Parameter, y: Parameter, by: str | None = None) -> Figure:
    """Draw the surface of the metric over two parameters, linear between the trials, and the trials on it.

    Args:
        done: trials with a value of the metric, as `trial_table` gives them.
        metric: one of those that the study improves.
        x: a parameter of numbers.
        y: another.
        by: a parameter of alternatives; each gets a panel of its own, since each has another landscape.
    """
    done = done[done[[x.name, y.name]].notna().all(axis=1)]
    panels = list(done.groupby(by)) if by is not None else [("", done)]
    figure = style.new_figure(0.9 + 3.6 * len(panels), 3.3)
    low, high = done[metric].min(), done[metric].max()
    norm = matplotlib.colors.Normalize(low, high if high > low else low + 1e-9)
    look: dict[str, Any] = {"cmap": "viridis" if higher_is_better(metric) else "viridis_r", "norm": norm}
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for k, (axes, (label, trials)) in enumerate(zip(row, panels, strict=True)):
        at = [trials[parameter.name].to_numpy(float) for parameter in (x, y)]
        if len(trials) >= _FEWEST_ON_SURFACE:
            logs = [_range(parameter)[2] for parameter in (x, y)]
            even = [np.log(values) if log else values for values, log in zip(at, logs, strict=True)]
            lines = [np.linspace(values.min(), values.max(), _GRID) for values in even]
            with suppress(RuntimeError):  # all on a line
                surface = LinearTriInterpolator(Triangulation(even[0], even[1]), trials[metric].to_numpy(float))
                ends = [np.exp(line) if log else line for line, log in zip(lines, logs, strict=True)]
                axes.contourf(*ends, surface(*np.meshgrid(*lines)), 12, alpha=0.75, **look)
        axes.scatter(*at, c=trials[metric], s=26, linewidths=0.8, edgecolors="white", **look)
        ringed = trials[trials["number"] == best_number(done, metric)]
        axes.plot(ringed[x.name], ringed[y.name], "o", **_RING)
        style.tidy(axes, grid="both", x=x.name, y=y.name if k == 0 else None, title=str(label))
        _scale_axis(axes, "x", x)
        _scale_axis(axes, "y", y)
    bar = figure.colorbar(row[0].collections[-1], ax=row.tolist(), aspect=24, pad=0.02)
    bar.set_label(f"{metric_label(metric)} (ring: best)", fontsize=style.TEXT)
    bar.ax.tick_params(labelsize=style.SMALL, length=2)
    bar.outline.set_visible(False)
    return figure


def _range(parameter: Parameter) -> tuple[float, float, bool]:
    """Give the ends of a parameter of numbers, and whether it is even in the logarithm."""
    values = parameter.values
    assert not isinstance(values, CategoricalDistribution)
    return values.low, values.high, values.log


def best_number(done: pd.DataFrame, metric: str) -> int:
    """Give the number of the trial with the best value of a metric."""
    order = done.sort_values(metric, ascending=not higher_is_better(metric), kind="stable")
    return int(order["number"].iloc[0])


def _scale_axis(axes: Axes, which: Literal["x", "y"], parameter: Parameter) -> None:
    """Let an axis run over the range of a parameter of numbers, with some room at its ends."""
    low, high, log = _range(parameter)
    room = (high / low) ** 0.04 if log else 0.04 * (high - low)
    ends = (low / room, high * room) if log else (low - room, high + room)
    axes.set(**{f"{which}scale": "log" if log else "linear", f"{which}lim": ends})
    if log:
        getattr(axes, f"{which}axis").set_minor_formatter(NullFormatter())
