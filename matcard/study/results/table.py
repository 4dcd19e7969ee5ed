"""The trials of a study as a table, and which of them are best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from matcard.evaluation.metrics import higher_is_better, metric_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float
    from optuna.trial import FrozenTrial

DEFAULTS = "defaults"
"""User attribute of the trial that stands for the configuration as it is."""
FAILURE = "failure"
"""User attribute of a failed trial: why."""
METRICS = "metrics"
"""User attribute of a trial: every validation metric at the best epoch, the mean over folds or seeds."""
_FIRST = ("number", "state", "failure", "defaults", "seconds")


def trial_table(trials: Sequence[FrozenTrial], metrics: Sequence[str]) -> pd.DataFrame:
    """Give a row for each trial that has ended.

    Columns: `number`, `state` (complete, pruned, fail), `failure` (the reason), `defaults`, `seconds`, each of
    `metrics` (what the study improves), each parameter by its dotted name, and `val_<metric>` for every metric.
    """
    rows = [_row(trial, metrics) for trial in trials if trial.state.is_finished()]
    table = pd.DataFrame(rows, columns=None if rows else [*_FIRST, *metrics])
    # Parameters that no early trial has stand beside the others.
    table = table[sorted(table.columns, key=lambda name: str(name).startswith("val_"))]
    for name in table.columns:
        if table[name].dtype == object and len({type(value) for value in table[name].dropna()}) > 1:
            table[name] = table[name].astype("string")  # a column of parquet has one type
    return table


def complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Give the trials that have values."""
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def ranked(trials: Sequence[FrozenTrial], metrics: Sequence[str]) -> list[FrozenTrial]:
    """Give the best trial, or of several metrics the Pareto front, the recommended trial first.

    Of a front that is the trial nearest to the best value of every metric, where each metric is scaled to its range
    over the front.
    """
    finished = complete(trials)
    if not finished:
        return []
    losses = np.array([trial.values for trial in finished]) * [-1 if higher_is_better(name) else 1 for name in metrics]
    front = [k for k in range(len(losses)) if not _beaten(losses[k], losses)]
    if len(metrics) == 1:
        return [finished[front[0]]]
    low, high = losses[front].min(axis=0), losses[front].max(axis=0)
    scaled = (losses[front] - low) / np.where(high > low, high - low, 1.0)
    order = np.argsort((scaled**2).sum(axis=1), kind="stable")
    return [finished[front[k]] for k in order]


def _beaten(loss: Float[np.ndarray, " m"], losses: Float[np.ndarray, "n m"]) -> bool:
    return bool(((losses <= loss).all(axis=1) & (losses < loss).any(axis=1)).any())


def _row(trial: FrozenTrial, metrics: Sequence[str]) -> dict[str, Any]:
    values = trial.values if trial.state == TrialState.COMPLETE else [np.nan] * len(metrics)
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "failure": failure_reason(trial) if trial.state == TrialState.FAIL else None,
        "defaults": bool(trial.user_attrs.get(DEFAULTS, False)),
        "seconds": trial.duration.total_seconds() if trial.duration else np.nan,
        **dict(zip(metrics, values, strict=True)),
        **trial.params,
        **{f"val_{name}": value for name, value in trial.user_attrs.get(METRICS, {}).items()},
    }


def failure_reason(trial: FrozenTrial) -> str:
    """Say why a trial failed."""
    return str(trial.user_attrs.get(FAILURE, "of itself"))


def shown_values(trial: FrozenTrial, metrics: Sequence[str]) -> str:
    """Write the values of a trial."""
    return " ".join(f"{metric_label(name)} {value:.3f}" for name, value in zip(metrics, trial.values, strict=True))


def shown_params(params: Mapping[str, Any]) -> str:
    """Write the values of parameters, the last part of their names being enough."""
    return ", ".join(f"{name.rsplit('.', 1)[-1]} {shown(value)}" for name, value in params.items()) or "the defaults"


def shown(value: Any) -> str:
    """Write the value of an option."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
