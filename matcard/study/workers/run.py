"""`run_trials`: the trials of a study, run in this process or in several, here and on other machines."""

from __future__ import annotations

import re
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna import logging
from optuna.trial import TrialState

from matcard.errors import InputError, MatcardWarning
from matcard.study.storage.opening import hidden, storage_opened
from matcard.study.workers.crew import Crew
from matcard.study.workers.queue import FINISHED
from matcard.study.workers.worker import Plan, Stop, Worker, failures
from matcard.work.interruption import Interruption
from matcard.work.life import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from optuna import Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

ENDED = (*FINISHED, TrialState.FAIL)


@dataclass(frozen=True)
class RunSummary:
    """How a call of `run_trials` ended."""

    finished: int
    """Trials of the study that are complete or pruned, those of earlier calls and of other workers included."""
    failed: int
    """Trials that failed since the call began."""
    total: int
    """Trials that were to finish."""
    stopped: Stop
    """Why no further trial began: `done`, as many finished as were to; `timeout`; `failing`, too many fail;
    `exhausted`, the sampler has no more points."""
    message: str
    """The same in a sentence, with the commonest reason of failures."""


def run_trials(
    study_name: str,
    objective: Callable[[Trial], float | Sequence[float]],
    make_sampler: Callable[[int], BaseSampler],
    *,
    url: str | None,
    folder: Path,
    total: int,
    jobs: int = 1,
    timeout: float | None = None,
    pruner: BasePruner | None = None,
    heartbeat: Heartbeat | None = None,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    go_on: str = "",
) -> RunSummary:
    """Run trials of an existing study until `total` are finished, by this and all other workers of the study.

    Any number of processes on any number of machines may do so at the same time, against one storage. Each takes care
    of trials whose worker has died.

    Args:
        study_name: name of a study in the storage.
        objective: gives the value or values of a trial. An exception or NaN fails the trial, with its reason in the
            trial's user attribute `failure`, and another takes its place.
        make_sampler: gives the sampler of a worker for a number that no other worker of the study has: 0 for the first
            worker of a new study. Mixed into the seed, no two workers draw the same values.
        url: where the study is stored, see `open_storage`.
        folder: the study's directory.
        total: finished (complete or pruned) trials that the study is to have.
        jobs: processes. 1 runs in this one; more are spawned, which needs a picklable objective and `make_sampler`,
            and share the cores and the GPUs.
        timeout: seconds after which no further trial begins.
        pruner: stops trials early; none does not.
        heartbeat: how a dead worker is told from a slow one.
        on_trial: called here with each trial that ended since the call, whoever ran it.
        go_on: how to go on with the study after an interruption, for its message.

    Raises:
        InputError: no such study or storage.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the message says what is kept. Running trials are put back in line.
    """
    if total < 1 or jobs < 1:
        raise InputError(f"--trials {total} --jobs {jobs}: expected 1 or more of each")
    if jobs > 1 and url is not None and url.startswith("sqlite"):
        warnings.warn(
            f"--storage {hidden(url)} with --jobs {jobs}: SQLite does not keep several processes apart, so trials may "
            "be run twice; leave --storage out (a journal file) or use PostgreSQL",
            MatcardWarning,
            stacklevel=2,
        )
    logging.set_verbosity(logging.WARNING)
    with storage_opened(url, folder, heartbeat) as storage:
        try:
            study_id = storage.get_study_id_from_name(study_name)
        except KeyError as error:
            raise InputError(f"--study {study_name}: no such study in the storage") from error
        before = storage.get_all_trials(study_id, deepcopy=False)
        plan = Plan(
            study_name,
            objective,
            make_sampler,
            pruner,
            url,
            folder,
            heartbeat or Heartbeat(),
            total,
            deadline=None if timeout is None else time.time() + timeout,
            begun=next((trial.number for trial in before if trial.state not in ENDED), len(before)),
        )
        report = _Report(on_trial, before)
        stop = _work(Worker(plan, storage) if jobs == 1 else Crew(plan, storage, jobs), report)
        trials = storage.get_all_trials(study_id, deepcopy=False)
        report(trials)
    if stop is None:
        raise KeyboardInterrupt(
            f"{_count_finished(trials)} of {total} trials are finished and kept, what was running is put back in line"
            f"{go_on and f'; go on with {go_on}'}"
        )
    return _summary(trials, plan, stop)


def _work(workers: Worker | Crew, report: _Report) -> Stop | None:
    """Let workers work until they stop; None where they were interrupted."""
    with Interruption() as interruption:
        try:
            return workers.work(interruption, report)
        except KeyboardInterrupt:
            return None


class _Report:
    """Tells of each trial that has ended since, once."""

    def __init__(self, on_trial: Callable[[FrozenTrial], None] | None, before: Sequence[FrozenTrial]) -> None:
        self._on_trial = on_trial
        self._told = {trial.number for trial in before if trial.state in ENDED}

    def __call__(self, trials: Sequence[FrozenTrial]) -> None:
        for trial in trials:
            if trial.state in ENDED and trial.number not in self._told:
                self._told.add(trial.number)
                if self._on_trial is not None:
                    self._on_trial(trial)


def _summary(trials: Sequence[FrozenTrial], plan: Plan, stop: Stop) -> RunSummary:
    reasons = failures(trials[plan.begun :])
    finished = _count_finished(trials)
    message = {
        "done": f"{finished} trials are finished",
        "timeout": f"the time is up with {finished} of {plan.total} trials finished",
        "failing": f"too many trials fail ({len(reasons)}) with {finished} of {plan.total} finished",
        "exhausted": f"the sampler has no more points to try, {finished} of {plan.total} trials are finished",
        "orphaned": f"the process that started this one has gone, {finished} of {plan.total} trials are finished",
    }[stop]
    if reasons:
        kind, count = Counter(map(_kind, reasons)).most_common(1)[0]
        reason = next(reason for reason in reasons if _kind(reason) == kind)
        message += f"; {count} of {len(reasons)} failed trials: {reason}"
    return RunSummary(finished, len(reasons), plan.total, stop, message)


def _kind(reason: str) -> str:
    """Leave out what trials that fail alike differ in: numbers and names."""
    return re.sub(r"'[^']*'|\d[\w.+-]*", "", reason)


def _count_finished(trials: Sequence[FrozenTrial]) -> int:
    return sum(trial.state in FINISHED for trial in trials)
