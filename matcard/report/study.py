"""The report of an Optuna study: its best configuration, its trials and its figures, from the study's directory."""

from __future__ import annotations

from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from matcard.errors import InputError
from matcard.evaluation.metrics import higher_is_better, metric_label, metric_names, undefined
from matcard.files import read_json
from matcard.report.page import (
    DASH,
    FigureFolder,
    Section,
    code,
    interval,
    paragraph,
    plural,
    records,
    score,
    table,
    write_page,
)
from matcard.study.settings import StudyDir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


REPORT = "report.html"

_ATTRIBUTES = ("number", "state", "failure", "defaults", "seconds")
"""Columns of the table of trials that are neither a metric nor a parameter."""
_STATES = {"complete": "finished", "pruned": "pruned", "fail": "failed"}
_SHOWN = 25
_FIGURES = {
    "history": "The metric of each trial, and the best so far.",
    "pareto": "The metrics of each trial against each other; the front is what no trial beats in all of them.",
    "slices": "The metric against each parameter by itself; darker points are later trials.",
    "importances": "How much of the metric's variation each parameter explains.",
    "contour": "The metric over scale and regularisation weight.",
    "intermediate": "The metric of each trial, epoch by epoch.",
}
"""What the figures of a study show, by the beginning of their names."""


def write_study_report(study_dir: Path) -> Path:
    """Write the report of a study from the files in its directory; gives the report's path.

    Raises:
        InputError: a directory that holds no trials of a study.
    """
    folder = StudyDir(study_dir)
    if not folder.table.is_file():
        raise InputError(f"{study_dir} holds no study with trials: expected {folder.table.name} in it")
    trials = pd.read_parquet(folder.table)
    names = [str(name) for name in trials.columns if name not in _ATTRIBUTES and not str(name).startswith("val_")]
    metrics = [name for name in names if name in metric_names()]
    parameters = [name for name in names if name not in metrics]
    sections = (
        ("summary", "Summary", partial(_summary, trials, metrics)),
        ("best", "Best configuration", partial(_best, folder)),
        ("gain", "Best beside the defaults", partial(_gain, folder)),
        ("retrained", "Retrained", partial(_retrained, folder, metrics)),
        ("figures", "Figures", partial(_pictures, folder)),
        ("trials", "Trials", partial(_trials, trials, metrics, parameters)),
    )
    subtitle = f"Study of {plural(len(trials), 'trial')}, improving {', '.join(map(metric_label, metrics))}"
    return write_page(folder.path / REPORT, folder.name, subtitle, list(starmap(Section, sections)))


def _summary(trials: pd.DataFrame, metrics: list[str]) -> Markup:
    states = trials["state"].value_counts().to_dict()
    ended = ", ".join(f"{states[state]:,} {said}" for state, said in _STATES.items() if state in states)
    minutes = trials["seconds"].sum() / 60
    took = f"{minutes / 60:.1f} hours" if minutes > 90 else f"{minutes:.0f} minutes"
    text = f"{plural(len(trials), 'trial')} ({ended}) took {took} of training in all."
    complete = trials[trials["state"] == "complete"]
    for metric in metrics if len(complete) else []:
        best = records(complete.sort_values(metric, ascending=not higher_is_better(metric)))[0]
        text += (
            f" The best validation {metric_label(metric)} is {best[metric]:.3f}, of trial {best['number']}; the median "
            f"is {complete[metric].median():.3f}."
        )
    return paragraph(
        f"{text} All of it was measured on the validation part: the best of many trials looks better there than it is, "
        "so that only a training over new seeds, tested once, says what the search has gained.",
        "lead",
    )


def _best(folder: StudyDir) -> Markup:
    if not folder.best.is_file():
        return paragraph("No trial has finished.")
    command = Markup("<pre><code>{}</code></pre>").format(f"python -m matcard.train --config {folder.best}")
    return paragraph(Markup("Its options are in {}:").format(code(folder.best.name))) + command


def _gain(folder: StudyDir) -> Markup:
    if not folder.comparison.is_file():
        return paragraph("The best was not compared with the defaults.")
    compared = read_json(folder.comparison)
    rows = []
    for name in filter(compared["metrics"].__contains__, metric_names()):
        row = compared["metrics"][name]
        gain = row.get("gain") or dict.fromkeys(("value", "low", "high"))
        rows.append((metric_label(name), score(row["defaults"]), score(row["best"]), *_gained(gain)))
    caption = f"On the validation part; interval of the gain: {compared['interval']}"
    return table(("", "defaults", "best", "gain", "95 %"), rows, caption=caption)


def _retrained(folder: StudyDir, metrics: list[str]) -> Markup:
    """Show the newest retraining: both on validation, the best on test."""
    summaries = sorted(folder.retrained.glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    if not summaries:
        command = code(f"python -m matcard.tune --study {folder.path} --retrain 5")
        return paragraph(Markup("Nothing was trained at full length or tested. {} does so.").format(command))
    summary = read_json(summaries[-1])
    rows = []
    for name in dict.fromkeys([*metrics, *metric_names()]):
        validation, test = summary["validation"][name], summary["test"][name]
        rows.append((
            metric_label(name), score(validation["defaults"]), score(validation["best"]), *_gained(validation["gain"]),
            score(test["value"]), interval(test["low"], test["high"]),
        ))  # fmt: skip
    caption = (
        f"Mean over {plural(len(summary['seeds']), 'seed')} at full length. Gain on validation: corrected resampled "
        "t-test over seeds; test: bootstrap over the test samples"
    )
    return table(("", "defaults", "best", "gain", "95 %", "best, on test", "95 %"), rows, caption=caption)


def _pictures(folder: StudyDir) -> Markup:
    figures = FigureFolder(folder.figures)
    found = [
        (path.stem, text) for kind, text in _FIGURES.items() for path in sorted(folder.figures.glob(f"{kind}*.svg"))
    ]
    if not found:
        return paragraph("No trial has finished that a figure could show.")
    return Markup("").join(figures.picture(name, alt=f"{name}: {text}", caption=text) for name, text in found)


def _trials(trials: pd.DataFrame, metrics: list[str], parameters: list[str]) -> Markup:
    complete = trials[trials["state"] == "complete"]
    order = complete.sort_values(metrics[0], ascending=not higher_is_better(metrics[0])) if metrics else complete
    rows = [
        (f"{row['number']}{' (defaults)' if row['defaults'] else ''}", *(_text(row[name]) for name in parameters),
         *(score(row[name]) for name in metrics))
        for row in records(order.head(_SHOWN))
    ]  # fmt: skip
    more = f", the best {_SHOWN} of {len(complete):,}" if len(complete) > _SHOWN else ""
    header = ("trial", *parameters, *map(metric_label, metrics))
    return table(header, rows, caption=f"Finished trials by validation metric{more}", texts=1 + len(parameters))


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and undefined(value)):
        return DASH
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _gained(gain: Mapping[str, float | None]) -> tuple[str, str]:
    """Write a gain and its interval."""
    return score(gain["value"], "+.3f"), interval(gain["low"], gain["high"], "+.3f")
