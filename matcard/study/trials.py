"""The trials of a study: an agenda of those to come, a table of those that ended, the best of them as configurations.

Optuna is asked and told here, by the coordinator alone.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import yaml
from optuna.trial import Trial, TrialState

from matcard.errors import InputError
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.files import written_whole
from matcard.training.config import config_from_dict, config_to_dict
from matcard.training.rundir import with_resolved_paths, write_text
from matcard.work.attempt import read_record, settle
from matcard.work.conduct import Agenda

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import optuna
    from optuna.trial import FrozenTrial

    from matcard.study.tuning import Begun
    from matcard.work.attempt import Job, Record
    from matcard.work.screen import Screen

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
FIRST_FAILURES = 10
"""A study stops when so many trials have failed and none has finished."""
FAILURES_PER_TRIAL = 2
"""It stops, too, when so many times more have failed than were to finish."""
DEFAULTS = "defaults"
"""User attribute of the trial that stands for the configuration as it is."""
FAILURE = "failure"
"""User attribute of a failed trial: why."""
METRICS = "metrics"
"""User attribute of a trial: every validation metric at the best epoch, the mean over folds or seeds."""
_FIRST = ("number", "state", "failure", "defaults", "seconds")


def may_begin(trials: Sequence[FrozenTrial], total: int, running: Collection[int], *, replaced: bool) -> int | None:
    """Say which trial may begin: the number of one that is there, the next number for another, None for none.

    Args:
        trials: of the study.
        total: those that are to finish.
        running: numbers of those that run now; a trial that Optuna has running and is not among them is over without
            an end, and begins again.
        replaced: whether another may take the place of one that failed; else only one that waits, a point of a grid.
    """
    for trial in trials:
        if trial.state == TrialState.RUNNING and trial.number not in running:
            return trial.number
    if sum(trial.state in (*FINISHED, TrialState.RUNNING) for trial in trials) >= total:
        return None
    waiting = (trial.number for trial in trials if trial.state == TrialState.WAITING)
    return next(waiting, len(trials) if replaced else None)


def too_many_failed(trials: Sequence[FrozenTrial], total: int) -> bool:
    """Tell whether so many trials failed that to go on makes no sense."""
    failed = sum(trial.state == TrialState.FAIL for trial in trials)
    finished = any(trial.state in FINISHED for trial in trials)
    return failed >= (max(FIRST_FAILURES, FAILURES_PER_TRIAL * total) if finished else FIRST_FAILURES)


def count_finished(trials: Sequence[FrozenTrial]) -> int:
    """Count the trials that are complete or pruned."""
    return sum(trial.state in FINISHED for trial in trials)


class Trials(Agenda):
    """Has trials of a study made until so many are finished.

    Args:
        begun: the study; on a grid the next point takes the place of one that failed, while there are any.
        total: trials that are to finish; of a grid its points.
        screen: shows those that end.
    """

    def __init__(self, begun: Begun, total: int, screen: Screen) -> None:
        self.stop: Literal["done", "timeout", "failing"] = "done"
        self._study = begun.study
        self._begun = begun
        self._total = total
        self._screen = screen
        timeout = begun.settings.options.timeout
        self._until = math.inf if timeout is None else time.monotonic() + timeout
        self._asked: dict[str, Trial] = {}
        trials = self.trials
        self._first = next((t.number for t in trials if not t.state.is_finished()), len(trials))
        for trial in trials:
            # What a coordinator that was killed had moved into place, and not told.
            if trial.state == TrialState.RUNNING and (record := read_record(begun.folder.trial(trial.number))):
                self._tell(Trial(begun.study, trial._trial_id), record)

    @property
    def trials(self) -> list[FrozenTrial]:
        """The study's trials by number; not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def next(self, running: Collection[str]) -> tuple[str, Job] | None:
        """Give a trial with its configuration chosen."""
        while True:
            trials = self.trials
            if too_many_failed(trials[self._first :], self._total):
                self.stop = "failing"
                return None
            number = may_begin(trials, self._total, {int(key) for key in running}, replaced=self._begun.points is None)
            if number is None:
                return None
            if time.monotonic() > self._until:
                self.stop = "timeout"
                return None
            is_begun = number < len(trials) and trials[number].state == TrialState.RUNNING
            trial = Trial(self._study, trials[number]._trial_id) if is_begun else self._study.ask()
            key = f"{trial.number:04d}"
            try:
                config = config_from_dict(self._begun.space.suggest(trial, self._begun.settings.trial))
            except (InputError, ValueError, TypeError) as error:
                self._tell(trial, {"status": "failed", "reason": f"{type(error).__name__}: {error}"})
                continue
            self._asked[key] = trial
            return key, self._begun.job(config)

    def heard(self, key: str, message: dict[str, Any]) -> bool:
        """Report a value of a running trial, and say whether it is to be pruned."""
        trial = self._asked[key]
        with warnings.catch_warnings():
            # A step that was reported before its worker died; a signed-rank test over few pairs, as was asked for.
            warnings.simplefilter("ignore", UserWarning)
            trial.report(message["value"], message["step"])
            return bool(trial.should_prune())

    def ended(self, key: str, record: Record, folder: Path | None) -> None:
        """Move what a trial wrote into its place, and tell Optuna."""
        trial = self._asked.pop(key)
        if folder is not None:
            settle(folder, self._begun.folder.trial(trial.number))
        self._tell(trial, record)

    def _tell(self, trial: Trial, record: Record) -> None:
        metrics = record.get("metrics") or {}
        reason = record.get("reason")
        if record["status"] == "finished" and (undefined := [n for n in self._begun.metrics if metrics.get(n) is None]):
            reason = f"validation {' and '.join(map(metric_label, undefined))} is undefined"
        if record["status"] == "pruned":
            self._study.tell(trial, state=TrialState.PRUNED)
        elif reason is not None:
            trial.set_user_attr(FAILURE, reason)
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_user_attr(METRICS, metrics)
            self._study.tell(trial, [metrics[name] for name in self._begun.metrics])
        self._show(trial.number)

    def _show(self, number: int) -> None:
        trials, metrics, best = self.trials, self._begun.metrics, ranked(self._study, self._begun.metrics)
        trial = trials[number]
        said = "none yet"
        if best:
            front = f", one of {len(best)}" if len(metrics) > 1 else ""
            said = f"{shown_values(best[0], metrics)} (trial {best[0].number}{front})"
        failed = trial.state == TrialState.FAIL
        if failed:
            ended = f"failed: {failure_reason(trial)}"
        else:
            outcome = "pruned" if trial.state == TrialState.PRUNED else shown_values(trial, metrics)
            point = ", ".join(f"{name.rsplit('.', 1)[-1]} {shown(value)}" for name, value in trial.params.items())
            ended = f"{outcome} ({point or 'the defaults'})"
        self._screen.ended(f"trial {number} {ended}", count_finished(trials), failed=failed, best=said)

    def summary(self) -> str:
        """Say why no further trial began, with the commonest reason of failures."""
        trials = self.trials
        finished = count_finished(trials)
        reasons = [failure_reason(t) for t in trials[self._first :] if t.state == TrialState.FAIL]
        message = {
            "done": f"{finished} trials are finished",
            "timeout": f"the time is up with {finished} of {self._total} trials finished",
            "failing": f"too many trials fail ({len(reasons)}) with {finished} of {self._total} finished",
        }[self.stop]
        if reasons:
            reason, count = Counter(reasons).most_common(1)[0]
            message += f"; {count} of {len(reasons)} failed trials: {reason}"
        return message


def trial_table(trials: Sequence[FrozenTrial], metrics: Sequence[str]) -> pd.DataFrame:
    """Give a row for each trial that has ended.

    Columns: `number`, `state` (complete, pruned, fail), `failure` (the reason), `defaults`, `seconds`, each of
    `metrics` (what the study improves), each parameter by its dotted name, and `val_<metric>` for every metric.
    """
    rows = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "failure": failure_reason(trial) if trial.state == TrialState.FAIL else None,
            "defaults": bool(trial.user_attrs.get(DEFAULTS, False)),
            "seconds": trial.duration.total_seconds() if trial.duration else np.nan,
            **dict.fromkeys(metrics, np.nan),
            **(dict(zip(metrics, trial.values, strict=True)) if trial.state == TrialState.COMPLETE else {}),
            **trial.params,
            **{f"val_{name}": value for name, value in trial.user_attrs.get(METRICS, {}).items()},
        }
        for trial in trials
        if trial.state.is_finished()
    ]
    table = pd.DataFrame(rows, columns=None if rows else [*_FIRST, *metrics])
    # Parameters that no early trial has stand beside the others.
    table = table[sorted(table.columns, key=lambda name: str(name).startswith("val_"))]
    for name in table.columns:
        if table[name].dtype == object and len({type(value) for value in table[name].dropna()}) > 1:
            table[name] = table[name].astype("string")  # a column of parquet has one type
    return table


def failure_reason(trial: FrozenTrial) -> str:
    """Say why a trial failed."""
    return str(trial.user_attrs.get(FAILURE, "of itself"))


def write_table(begun: Begun) -> pd.DataFrame:
    """Write the trials that have ended, and give them."""
    table = trial_table(begun.study.get_trials(deepcopy=False), begun.metrics)
    with written_whole(begun.folder.table) as beside:
        table.to_parquet(beside, index=False)
    return table


def ranked(study: optuna.Study, metrics: Sequence[str]) -> list[FrozenTrial]:
    """Give the best trial, or of several metrics the Pareto front, the recommended trial first.

    Of a front that is the trial nearest to the best value of every metric, where each metric is scaled to its range
    over the front.
    """
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    if len(metrics) == 1:
        return [study.best_trial]
    front = study.best_trials
    losses = np.array([trial.values for trial in front]) * [-1 if higher_is_better(name) else 1 for name in metrics]
    low, high = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - low) / np.where(high > low, high - low, 1.0)
    return [front[k] for k in np.argsort((scaled**2).sum(axis=1), kind="stable")]


def write_best(begun: Begun) -> list[FrozenTrial]:
    """Write the best configuration, and of several metrics those of the whole front; give their trials.

    `best.yaml` of several metrics is the trial of the front that `ranked` puts first.
    """
    folder, metrics, config = begun.folder, begun.metrics, begun.settings.config
    best = ranked(begun.study, metrics)
    for old in folder.path.glob("best-*.yaml"):
        old.unlink(missing_ok=True)
    for rank, trial in enumerate(best, start=1):
        values = with_resolved_paths(config_to_dict(config_from_dict(begun.space.apply(trial.params, config))))
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


def shown(value: Any) -> str:
    """Write the value of an option."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
