"""What a study has found, from its record: every trial as a table, and the best of them as configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from optuna.trial import TrialState

from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.files import written_whole
from matcard.training.config import config_from_dict, config_to_dict
from matcard.training.rundir import with_resolved_paths, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from optuna.trial import FrozenTrial

    from matcard.study.settings import StudyDir
    from matcard.study.space import Space
    from matcard.training.options import Config

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


def write_table(folder: StudyDir, study: optuna.Study, metrics: Sequence[str]) -> pd.DataFrame:
    """Write the trials that have ended, and give them."""
    table = trial_table(study.get_trials(deepcopy=False), metrics)
    with written_whole(folder.table) as beside:
        table.to_parquet(beside, index=False)
    return table


def complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Give the trials that have values."""
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def ranked(study: optuna.Study, metrics: Sequence[str]) -> list[FrozenTrial]:
    """Give the best trial, or of several metrics the Pareto front, the recommended trial first.

    Of a front that is the trial nearest to the best value of every metric, where each metric is scaled to its range
    over the front.
    """
    if not complete(study.get_trials(deepcopy=False)):
        return []
    if len(metrics) == 1:
        return [study.best_trial]
    front = study.best_trials
    losses = np.array([trial.values for trial in front]) * [-1 if higher_is_better(name) else 1 for name in metrics]
    low, high = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - low) / np.where(high > low, high - low, 1.0)
    return [front[k] for k in np.argsort((scaled**2).sum(axis=1), kind="stable")]


def full_config(trial: FrozenTrial, space: Space, config: Mapping[str, Any]) -> Config:
    """Give the configuration of a trial at full length."""
    return config_from_dict(space.apply(trial.params, config))


def write_best(
    folder: StudyDir, study: optuna.Study, metrics: Sequence[str], space: Space, config: Mapping[str, Any]
) -> list[FrozenTrial]:
    """Write the best configuration, and of several metrics those of the whole front; give their trials.

    `best.yaml` of several metrics is the trial of the front that `ranked` puts first.
    """
    best = ranked(study, metrics)
    for old in folder.path.glob("best-*.yaml"):
        old.unlink(missing_ok=True)
    for rank, trial in enumerate(best, start=1):
        values = with_resolved_paths(config_to_dict(full_config(trial, space, config)))
        text = f"# Trial {trial.number} of the study {folder.name}: " + ", ".join(
            f"validation {name} {value:.4f}" for name, value in zip(metrics, trial.values, strict=True)
        )
        text += "\n" + yaml.safe_dump({**values, "run_dir": None}, sort_keys=False, allow_unicode=True)
        if rank == 1:
            write_text(folder.best, text)
        if len(metrics) > 1:
            write_text(folder.path / f"best-{rank}.yaml", text)
    return best


def shown_values(trial: FrozenTrial, metrics: Sequence[str]) -> str:
    """Write the values of a trial."""
    return " ".join(f"{metric_label(name)} {value:.3f}" for name, value in zip(metrics, trial.values, strict=True))


def shown_params(params: Mapping[str, Any]) -> str:
    """Write the values of parameters, the last part of their names being enough."""
    return ", ".join(f"{name.rsplit('.', 1)[-1]} {shown(value)}" for name, value in params.items()) or "the defaults"


def shown(value: Any) -> str:
    """Write the value of an option."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
