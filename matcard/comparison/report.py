"""`report.html` of a comparison: its tables, a figure of means with intervals, the options that were chosen."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from matcard.comparison.results import metric
from matcard.comparison.tables import captions, score_tables, short_tables, task_tables
from matcard.evaluation import style
from matcard.report.page import DASH, FigureFolder, Section, code, paragraph, table, write_page
from matcard.training.config import flatten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matcard.comparison.experiment import Experiment
    from matcard.comparison.tables import TextTable

_AGAIN = (
    "Failed cells. The same command runs them again, but for losses that stopped being finite, which would do so "
    "again, and trials that others have been chosen after."
)
_NAME_WIDTH = 28
_LOOKS = {
    "argmax": ("most likely class", style.BLUE, "o", -0.13),
    "decision": ("decision chosen on validation", style.ORANGE, "D", 0.13),
}
"""Name, colour, marker and place beside the row of the two rules."""
_FILES = ("table.md", "table.tex", "results.parquet")


def write_report(
    folder: Path, experiment: Experiment, results: pd.DataFrame, summary: pd.DataFrame, command: str
) -> Path:
    """Write the page and its figures; gives the page's path."""
    figures = FigureFolder(folder / "figures")
    sections = [
        Section("summary", "Summary", lambda: _summary(experiment, results, command)),
        Section("intervals", "Means with intervals", lambda: _intervals(experiment, summary, figures)),
        Section("short", "In short", lambda: _as_tables(short_tables(summary, experiment))),
        Section("tables", "With intervals and differences", lambda: _as_tables(score_tables(summary, experiment))),
    ]
    if over := task_tables(summary, experiment):
        sections.append(Section("over-tasks", "Over data sets", lambda: _as_tables(over)))
    if any(experiment.searched(task, method) for task in experiment.tasks for method in experiment.methods):
        sections.append(Section("options", "Chosen options", lambda: _options(experiment, results)))
    if (results["status"] == "failed").any():
        sections.append(Section("failed", "Failed cells", lambda: _failed(results)))
    names = ", ".join(task.name for task in experiment.tasks)
    return write_page(folder / "report.html", experiment.title, f"{experiment.name}: {names}", sections)


def _summary(experiment: Experiment, results: pd.DataFrame, command: str) -> Markup:
    status = results["status"].value_counts()
    counted = ", ".join(f"{count} {name}" for name, count in status.items())
    said = Markup("").join(paragraph(caption) for caption in captions(experiment))
    files = Markup(", ").join(Markup('<a href="{0}">{0}</a>').format(name) for name in _FILES)
    made = Markup("<pre><code>{}</code></pre>").format(command)
    return said + paragraph(Markup("Trainings: {}. Beside this page: {}. Made by").format(counted, files)) + made


def _intervals(experiment: Experiment, summary: pd.DataFrame, figures: FigureFolder) -> Markup:
    shown = experiment.headline_metrics
    rest = " Other metrics are in the tables." if len(shown) < len(experiment.metrics) else ""
    return figures.add(
        "intervals",
        interval_figure(summary, experiment, shown),
        summary,
        alt="Means of each loss on each data set with their intervals.",
        caption="Mean over seeds with 95 % intervals, corrected for resampling (thin) and over seeds alone (broad); the"
        f" dashed line is {experiment.reference} at argmax.{rest}",
    )


def _as_tables(tables: Sequence[TextTable]) -> Markup:
    """Give tables with intervals and p values on lines of their own, so that many columns stay in sight."""
    found = Markup("")
    for text in tables:
        header = [Markup("<br>").join(name.split()) for name in text.header]
        rows = [(label, *map(_stacked, cells)) for label, *cells in text.rows]
        found += table(header, rows, caption=text.title)
    return found


def _stacked(cell: str) -> Markup:
    """Write a score with its intervals, p value and number of seeds below it."""
    if cell.startswith("failed"):
        return escape(cell)
    first, *rest = filter(None, re.split(r" \(|; |\)?, |\)", cell))
    return escape(first) + Markup("").join(Markup("<br><small>{}</small>").format(line) for line in rest)


def _options(experiment: Experiment, results: pd.DataFrame) -> Markup:
    """Say what was searched of each loss on each data set, and what was found, by seed."""
    tested = results[(results["stage"] == "test") & results["config"].notna()]
    rows = []
    for task in experiment.tasks:
        for method in experiment.methods:
            of_method = tested[(tested["task"] == task.name) & (tested["method"] == method.label)]
            found = [flatten(json.loads(config)) for config in of_method["config"]]
            chosen = Markup("; ").join(_chosen(name, found) for name in experiment.searched(task, method))
            rows.append((task.name, method.label, chosen if found and chosen else DASH))
    seeds = f"seeds {experiment.seed} to {experiment.seed + experiment.seeds - 1}"
    caption = f"What was searched, and the values that were tested ({seeds}; one where it is the same for all)"
    return table(("task", "loss", "options"), rows, caption=caption, texts=3)


def _chosen(name: str, found: Sequence[Mapping[str, Any]]) -> Markup:
    values = [options.get(name) for options in found]
    shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
    return code(name) + " " + ", ".join(dict.fromkeys(shown) if len(set(shown)) == 1 else shown)


def _failed(results: pd.DataFrame) -> Markup:
    failed = results[results["status"] == "failed"]
    rows = [(row.task, row.method, f"{row.stage} {row.number}", row.reason) for row in failed.itertuples()]
    return table(("task", "loss", "cell", "reason"), rows, caption=_AGAIN, texts=4)


def interval_figure(summary: pd.DataFrame, experiment: Experiment, metrics: Sequence[str]) -> Figure:
    """Draw the mean of each method with its 95 % intervals: a row of panels a task, a column a metric.

    The broad bar is the interval over seeds alone, the thin one is corrected for resampling; the line is the reference
    at argmax.
    """
    tasks, labels = [task.name for task in experiment.tasks], [method.label for method in experiment.methods]
    width, height = 1.6 + 2.5 * len(metrics), 0.75 + len(tasks) * (0.5 + 0.24 * len(labels))
    figure = style.new_figure(width, height)
    grid = figure.subplots(len(tasks), len(metrics), sharey=True, squeeze=False)
    for i, task in enumerate(tasks):
        for j, name in enumerate(metrics):
            part = summary[(summary["task"] == task) & (summary["metric"] == name)]
            _draw_panel(grid[i, j], part, labels, experiment.reference)
            # What hangs over belongs to the panel on its left.
            title = style.short(task, 40) if j == 0 else None
            style.tidy(grid[i, j], grid="x", x=metric(name).label if i == len(tasks) - 1 else None, title=title)
            grid[i, j].tick_params(axis="y", length=0)
    shown = {name: handle for axes in grid.flat for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    if len(shown) > 1:
        where: dict[str, Any] = {"loc": "outside upper right", "ncols": len(shown), "frameon": False}
        figure.legend(list(shown.values()), list(shown), fontsize=style.SMALL, **where)
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame, labels: Sequence[str], reference: str) -> None:
    by_rule = {rule: of_rule.set_index("method").loc[list(labels)] for rule, of_rule in part.groupby("rule")}
    for rule, found in by_rule.items():
        name, colour, marker, place = _LOOKS[str(rule)]
        rows = np.arange(len(labels)) + (place if len(by_rule) > 1 else 0.0)
        axes.hlines(rows, found["low"], found["high"], color=colour, linewidth=0.8)
        axes.hlines(rows, found["seeds_low"], found["seeds_high"], color=colour, linewidth=2.5, alpha=0.45)
        axes.plot(found["mean"], rows, marker, color=colour, markersize=4.5, label=name)
        if rule == "argmax" and not np.isnan(value := found["mean"].to_dict()[reference]):
            axes.axvline(value, color=style.GREY, linewidth=0.9, linestyle=style.DASHED, zorder=0.9)
    for row, label in enumerate(labels):
        of_method = part[part["method"] == label]
        if of_method["mean"].isna().all():
            undone = "failed" if of_method["failed"].any() else "not run"
            said, at = "undefined" if of_method["finished"].any() else undone, axes.get_yaxis_transform()
            axes.text(0.02, row, said, transform=at, va="center", fontsize=style.SMALL, color=style.VERMILLION)
    axes.set_yticks(range(len(labels)), [style.short(label, _NAME_WIDTH) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
