"""The best of a study beside the defaults: which options differ, and what they gain on validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from matcard.evaluation.metrics import metric_label, metric_names
from matcard.evaluation.tables import format_score
from matcard.files import to_json
from matcard.study.results.table import shown
from matcard.training.config import config_to_dict, flatten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matcard.study.results.gain import Gain
    from matcard.training.options import Config

_SHOWN = ("macro_f1", "minority_recall", "balanced_accuracy", "average_precision")
"""Metrics of the table, beside those that the study improves."""


def shown_metrics(metrics: Sequence[str]) -> list[str]:
    """Give the metrics of a table: those that the study improves first."""
    return list(dict.fromkeys([*metrics, *_SHOWN]))


def differing_options(defaults: Config, best: Config) -> list[tuple[str, Any, Any]]:
    """Give the options that differ, each with its two values; None where a side has none."""
    before, after = (flatten(config_to_dict(config)) for config in (defaults, best))
    names = dict.fromkeys([*before, *after])
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def comparison_table(
    title: str,
    options: Sequence[tuple[str, Any, Any]],
    defaults: Mapping[str, float],
    best: Mapping[str, float],
    gains: Mapping[str, Gain] | None,
    metrics: Sequence[str],
) -> Table:
    """Show the options that differ and the metrics, with the gain of each and its interval."""
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    table.add_column("")
    for header in ("defaults", "best", "gain", "95 % interval"):
        table.add_column(header, justify="right", no_wrap=True)
    for name, before, after in options:
        table.add_row(name, *("-" if value is None else shown(value) for value in (before, after)), "", "")
    for name in shown_metrics(metrics):
        gain, interval = "", ""
        if gains is not None:
            gain = f"{gains[name].value:+.3f}"
            low, high = gains[name].low, gains[name].high
            interval = "-" if np.isnan([low, high]).any() else f"{low:+.3f} to {high:+.3f}"
        style = "bold" if name in metrics else None
        scores = (format_score(defaults[name]), format_score(best[name]))
        table.add_row(metric_label(name), *scores, gain, interval, style=style)
    return table


def write_comparison(
    path: Path,
    options: Sequence[tuple[str, Any, Any]],
    defaults: Mapping[str, float],
    best: Mapping[str, float],
    gains: Mapping[str, Gain] | None,
    how: str,
) -> None:
    """Write the same as JSON, of every metric."""
    to_json(
        {
            "options": {name: {"defaults": before, "best": after} for name, before, after in options},
            "interval": how,
            "metrics": {
                name: {
                    "defaults": defaults[name],
                    "best": best[name],
                    **({} if gains is None else {"gain": gains[name]._asdict()}),
                }
                for name in metric_names()
            },
        },
        path,
    )
