"""The queue of a study: who may begin a trial, and what takes the place of one that failed.

`total` counts finished trials (complete or pruned) of all workers and all restarts. Three rules keep the count exact in
every storage, with nothing but what each of them does atomically: number new trials, and hand a waiting trial to one.

1. A waiting trial may begin only while fewer than `total` trials of a lower number have not failed. That number never
   grows, since new trials are numbered above, so more than `total` trials can never finish.
2. Whoever takes the study's last trial puts the next one in line, until `total` are there; each trial is taken once, so
   no two workers do so for the same one.
3. Whoever marks a trial as failed, which one worker only can, puts in line what takes its place.

A worker killed between two of these steps leaves the line one short; `mend` makes up for it.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from optuna.trial import FrozenTrial

FAILURE = "failure"
"""User attribute of a failed trial: why."""
RETRY_OF = "retry_of"
"""User attribute of a trial that repeats the parameters of another: that one's number."""
INTERRUPTED = "interrupted"
DIED = "its worker died"
OWN = "matcard:"
"""What system attributes of ours begin with."""
REPLACES = OWN + "replaces"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
RETRIES = 1
"""How often the parameters of a trial whose worker died are tried again."""
SETTLE = 1.0
"""Seconds that a line one short is given to mend by the worker who is at it."""
_RUNG = "completed_rung_"
"""What pruners remember of a trial's course, which a repeated one has yet to run."""


def failure_reason(trial: FrozenTrial) -> str:
    """Say why a trial failed."""
    return str(trial.user_attrs.get(FAILURE, DIED))


def entitled(trials: Sequence[FrozenTrial], total: int) -> list[FrozenTrial]:
    """Those of a study's trials, by number, that may begin or have begun: the first `total` that have not failed."""
    return [trial for trial in trials if trial.state != TrialState.FAIL][:total]


def put_back(study: optuna.Study, failed: FrozenTrial) -> None:
    """Put in line what takes the place of a failed trial.

    The same parameters again, if it was interrupted, or if its worker died for the first time; else a new trial.
    """
    history = list(failed.system_attrs.get("retry_history", ()))
    reason = failure_reason(failed)
    if reason != INTERRUPTED:
        if reason != DIED or len(history) >= RETRIES:
            add_waiting(study, {REPLACES: failed.number})
            return
        history.append(failed.number)
    kept = {k: v for k, v in failed.system_attrs.items() if not k.startswith((OWN, _RUNG))}
    # The names that Optuna's own helpers of its retry callback read.
    repeated = {"retry_history": history, "failed_trial": history[0]} if history else {}
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=failed.params,
            distributions=failed.distributions,
            user_attrs={k: v for k, v in failed.user_attrs.items() if k != FAILURE} | {RETRY_OF: failed.number},
            system_attrs=kept | repeated | {REPLACES: failed.number},
        )
    )


def add_waiting(study: optuna.Study, system_attrs: dict[str, Any] | None = None) -> None:
    """Put a trial in line whose parameters the sampler will suggest."""
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=system_attrs))


class TrialQueue:
    """The line of one study, as one worker sees it."""

    def __init__(self, study: optuna.Study, storage: optuna.storages.BaseStorage, total: int) -> None:
        self.study = study
        self.storage = storage
        self.total = total
        self._study_id = storage.get_study_id_from_name(study.study_name)
        self._short_since: float | None = None
        self._patience = 0.0

    def trials(self) -> list[FrozenTrial]:
        """Give the study's trials by number; not to be changed."""
        return self.storage.get_all_trials(self._study_id, deepcopy=False)

    def open(self) -> None:
        """Put the first trial in line where nobody is there to do it."""
        trials = self.trials()
        if not any(t.state in (TrialState.WAITING, TrialState.RUNNING) for t in trials) and self._is_short(trials):
            self._add(trials)

    def take(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """Take the first waiting trial of a list a moment old; it then runs, and is this worker's alone.

        None where no trial may begin.
        """
        for trial in entitled(trials, self.total):
            if trial.state == TrialState.WAITING and self._set_running(trial):
                if trial is trials[-1]:
                    self._extend(trial)
                self._short_since = None
                return trial
        return None

    def mend(self, trials: Sequence[FrozenTrial]) -> None:
        """Put a trial in line if one has been missing for so long that a killed worker must have left it out."""
        waiting = any(t.state == TrialState.WAITING for t in trials)
        if waiting or not self._is_short(trials):
            self._short_since = None
        elif self._short_since is None:
            self._short_since = time.monotonic()
            # Not from a generator that a seed rules: workers must not wait in step.
            self._patience = SETTLE * random.SystemRandom().uniform(1, 3)
        elif time.monotonic() - self._short_since > self._patience:
            self._short_since = None
            self._add(trials)

    def _set_running(self, trial: FrozenTrial) -> bool:
        try:
            return self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def _extend(self, taken: FrozenTrial) -> None:
        trials = self.trials()
        if trials[-1].number == taken.number and _count_first(trials) < self.total:
            add_waiting(self.study)

    def _is_short(self, trials: Sequence[FrozenTrial]) -> bool:
        return len(entitled(trials, self.total)) < self.total

    def _add(self, trials: Sequence[FrozenTrial]) -> None:
        add_waiting(self.study, None if _count_first(trials) < self.total else {REPLACES: None})


def _count_first(trials: Sequence[FrozenTrial]) -> int:
    """Count the trials that take no other's place."""
    return sum(REPLACES not in trial.system_attrs for trial in trials)
