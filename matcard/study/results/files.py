"""What a study leaves: the best configurations, the table of trials, figures, and the best beside the defaults."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from optuna.exceptions import ExperimentalWarning
from optuna.importance import get_param_importances

from matcard.evaluation.metrics import higher_is_better
from matcard.evaluation.style import save_figure
from matcard.files import written_whole
from matcard.study.results.contour import contour_figure
from matcard.study.results.figures import (
    history_figure,
    importances_figure,
    intermediate_figure,
    pareto_figure,
    slices_figure,
)
from matcard.study.results.table import complete, ranked, trial_table
from matcard.training.config import config_from_dict, config_to_dict
from matcard.training.rundir import with_resolved_paths, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import optuna
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

    from matcard.study.folder import StudyDir
    from matcard.study.search.parameter import Parameter
    from matcard.study.search.space import Space
    from matcard.training.options import Config

PAIR = ("loss.scale", "loss.lambda_invariant")
"""The parameters whose contour is drawn where both are searched."""


_FEWEST = 4
"""Trials without which importances say nothing."""


def full_config(trial: FrozenTrial, space: Space, config: Mapping[str, Any]) -> Config:
    """Give the configuration of a trial at full length."""
    return config_from_dict(space.apply(trial.params, config))


def write_best(
    folder: StudyDir, trials: Sequence[FrozenTrial], metrics: Sequence[str], space: Space, config: Mapping[str, Any]
) -> list[FrozenTrial]:
    """Write the best configuration, and of several metrics those of the whole front; give their trials.

    `best.yaml` of several metrics is the trial of the front that `ranked` puts first.
    """
    best = ranked(trials, metrics)
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
            write_text(folder.best_of_front(rank), text)
    return best


def write_table(folder: StudyDir, trials: Sequence[FrozenTrial], metrics: Sequence[str]) -> pd.DataFrame:
    """Write the trials that have ended, and give them."""
    table = trial_table(trials, metrics)
    with written_whole(folder.table) as beside:
        table.to_parquet(beside, index=False)
    return table


def write_figures(
    folder: StudyDir, study: optuna.Study, table: pd.DataFrame, metrics: Sequence[str], space: Space
) -> None:
    """Draw the figures that the trials allow, each with its numbers beside it as CSV."""
    trials = study.get_trials(deepcopy=False)
    done = complete(trials)
    if not done:
        return
    values = ["number", *metrics, *(p.name for p in space.parameters if p.name in table)]
    for k, metric in enumerate(metrics):
        suffix = f"_{metric}" if len(metrics) > 1 else ""
        columns = ["number", "state", "defaults", metric]
        _save(folder.figures / f"history{suffix}.png", history_figure(table, metric), table[columns])
        _save(folder.figures / f"slices{suffix}.png", slices_figure(table, metric, space.parameters), table[values])
        if importances := _importances(study, done, metrics, k):
            rows = pd.DataFrame({"parameter": importances.keys(), "importance": importances.values()})
            _save(folder.figures / f"importances{suffix}.png", importances_figure(importances, metric), rows)
        if pair := _pair(space, table[table[metric].notna()]):
            by = next((p.name for p in space.parameters if p.sets is not None), None)
            _save(folder.figures / f"contour{suffix}.png", contour_figure(table, metric, *pair, by), table[values])
    if reports := {t.number: dict(sorted(t.intermediate_values.items())) for t in trials if t.intermediate_values}:
        steps = [(number, step, value) for number, values in reports.items() for step, value in values.items()]
        rows = pd.DataFrame(steps, columns=["number", "step", metrics[0]])
        _save(folder.figures / "intermediate.png", intermediate_figure(table, reports, metrics[0]), rows)
    if len(metrics) > 1:
        front = [trial.number for trial in ranked(trials, metrics)]
        rows = table[values].assign(front=table["number"].isin(front))
        _save(folder.figures / "pareto.png", pareto_figure(table, metrics, front), rows)


def _pair(space: Space, table: pd.DataFrame) -> tuple[Parameter, Parameter] | None:
    """Give the parameters of the contour, if both are searched and some trial of the table has both."""
    numbers = {p.name: p for p in space.parameters if p.kind != "categorical" and p.name in table}
    if not set(PAIR) <= set(numbers) or not table[list(PAIR)].notna().all(axis=1).any():
        return None
    return numbers[PAIR[0]], numbers[PAIR[1]]


def _importances(study: optuna.Study, done: Sequence[FrozenTrial], metrics: Sequence[str], k: int) -> dict[str, float]:
    """Give the importances of parameters for good values of one metric; empty where there is too little to go by."""
    if len(done) < _FEWEST or len({trial.values[k] for trial in done}) == 1:
        return {}
    sign = -1 if higher_is_better(metrics[k]) else 1  # the importance is for low values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes the importances", UserWarning)
        return get_param_importances(study, target=lambda trial: sign * trial.values[k])


def _save(path: Path, figure: Figure, rows: pd.DataFrame) -> None:
    save_figure(figure, path)
    with written_whole(path.with_suffix(".csv")) as beside:
        rows.to_csv(beside, index=False)
