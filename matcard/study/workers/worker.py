"""One worker of a study: take a trial, run it, record how it ended, until there is no more to do."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.pruners import NopPruner
from optuna.trial import Trial, TrialState

from matcard.errors import InputError, TrainingError
from matcard.study.storage.outage import patiently
from matcard.study.workers.liveness import DeathWatch, LifeMarks
from matcard.study.workers.queue import FAILURE, FINISHED, INTERRUPTED, TrialQueue, failure_reason, put_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from matcard.work.interruption import Interruption
    from matcard.work.life import Heartbeat

    Objective = Callable[[Trial], float | Sequence[float]]

Stop = Literal["done", "timeout", "failing", "exhausted", "orphaned"]
FIRST_FAILURES = 10
"""A study stops when so many trials have failed and none has finished."""
FAILURES_PER_TRIAL = 2
"""It stops, too, when so many times more have failed than were to finish."""
LONGEST_REASON = 1000
"""Characters that are kept of a failure's reason; some databases hold no long texts."""
LONGEST_PAUSE = 2.0
"""Seconds between two looks of a worker that has waited for others for a while."""


@dataclass(frozen=True)
class Plan:
    """What every worker of one call of `run_trials` needs; picklable if the objective and `make_sampler` are."""

    study_name: str
    objective: Objective
    make_sampler: Callable[[int], BaseSampler]
    pruner: BasePruner | None
    url: str | None
    folder: Path
    heartbeat: Heartbeat
    total: int
    deadline: float | None
    """Time after which no trial begins."""
    begun: int
    """Number of the first trial that had not ended when the call began: failures before it do not count against it."""


class WorkerStudy(optuna.Study):
    """A study whose sampler may end it, as grid search does, outside of Optuna's own loop."""

    exhausted = False

    def stop(self) -> None:
        """Begin no more trials."""
        self.exhausted = True


class Worker:
    """Runs trials of a plan in this process."""

    def __init__(self, plan: Plan, storage: BaseStorage) -> None:
        self.plan = plan
        self.storage = storage
        self.study = WorkerStudy(plan.study_name, storage, pruner=plan.pruner or NopPruner())
        self.queue = TrialQueue(self.study, storage, plan.total)
        self.watch = DeathWatch(self.study, storage, plan.heartbeat.grace)
        self._sampler_made = False

    def work(self, interruption: Interruption, on_round: Callable[[list[FrozenTrial]], None]) -> Stop:
        """Run trials until there is a reason to stop, which is given; `on_round` sees all trials between two.

        Raises:
            KeyboardInterrupt: a signal came; the trial that ran is put back in line.
        """
        self.queue.open()
        pause = 0.05
        while True:
            trials = patiently(self.look, interruption)
            on_round(trials)
            if interruption.requested:
                raise KeyboardInterrupt
            if stop := self.reason_to_stop(trials):
                return stop
            trial = patiently(self.queue.take, interruption, trials)
            if trial is None:
                patiently(self.queue.mend, interruption, trials)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._run(trial, interruption)
                pause = 0.05

    def look(self) -> list[FrozenTrial]:
        """Give all trials and put those of dead workers back in line."""
        trials = self.queue.trials()
        self.watch.look(trials)
        return trials

    def reason_to_stop(self, trials: list[FrozenTrial]) -> Stop | None:
        """Say why no further trial should begin, if there is a reason."""
        if sum(t.state in FINISHED for t in trials) >= self.plan.total:
            return "done"
        if too_many_failed(trials[self.plan.begun :], self.plan.total):
            return "failing"
        if self.study.exhausted:
            return "exhausted"
        if self.plan.deadline is not None and time.time() > self.plan.deadline:
            return "timeout"
        parent = parent_process()
        return "orphaned" if parent is not None and not parent.is_alive() else None

    def _run(self, taken: FrozenTrial, interruption: Interruption) -> None:
        if not self._sampler_made:
            # Each trial is taken once, so no two workers of a study, whenever they run, get the same number.
            self.study.sampler = self.plan.make_sampler(taken.number)
            self._sampler_made = True
        marks = LifeMarks(self.storage, taken._trial_id, self.plan.heartbeat.interval)
        try:
            patiently(marks.begin, interruption)
        except UpdateFinishedTrialError:
            return  # the storage was away for so long that others have put the trial back in line
        try:
            outcome = self._evaluate(taken, interruption)
            patiently(self._record, interruption, taken, *outcome)
        finally:
            marks.end()

    def _evaluate(
        self, taken: FrozenTrial, interruption: Interruption
    ) -> tuple[TrialState, list[float] | None, str | None]:
        """Run the objective; give the state it ended in, its values, or why it failed."""
        try:
            trial = Trial(self.study, taken._trial_id)
            with interruption.allowed():
                result = self.plan.objective(trial)
        except TrialPruned:
            return TrialState.PRUNED, None, None
        except (InputError, TrainingError) as error:
            return TrialState.FAIL, None, str(error)
        except Exception as error:
            return TrialState.FAIL, None, f"{type(error).__name__}: {error}"
        except (KeyboardInterrupt, SystemExit) as stopped:
            # Lightning turns an interruption into an exit.
            interrupted = interruption.requested or isinstance(stopped, KeyboardInterrupt)
            return TrialState.FAIL, None, INTERRUPTED if interrupted else f"the objective exited: {stopped}"
        values, unusable = as_values(result, len(self.study.directions))
        return (TrialState.FAIL, None, unusable) if unusable else (TrialState.COMPLETE, values, None)

    def _record(self, taken: FrozenTrial, state: TrialState, values: list[float] | None, failure: str | None) -> None:
        """Write down how a trial ended, unless others have taken this worker for dead and done so."""
        try:
            if failure:
                self.storage.set_trial_user_attr(taken._trial_id, FAILURE, failure[:LONGEST_REASON])
            ended = self.study.tell(taken.number, values, state=state)
        except UpdateFinishedTrialError:
            return
        except ValueError:
            # How Optuna says the same, where it sees it earlier.
            if self.storage.get_trial(taken._trial_id).state == TrialState.RUNNING:
                raise
            return
        if failure:
            put_back(self.study, ended)


def as_values(result: Any, count: int) -> tuple[list[float], str | None]:
    """Give what an objective returned as numbers, and what is wrong with them, if anything is."""
    many = list(result) if isinstance(result, Sequence) and not isinstance(result, str) else [result]
    try:
        values = [float(value) for value in many]
    except (TypeError, ValueError):
        return [], f"the objective gave {result!r}, which is no number"
    if len(values) != count:
        return values, f"the objective gave {len(values)} values for {count} objectives"
    if not all(map(math.isfinite, values)):
        return values, f"the objective is {', '.join(map(str, values))}"
    return values, None


def too_many_failed(trials: Sequence[FrozenTrial], total: int) -> bool:
    """Tell whether so many trials failed that to go on makes no sense."""
    failed = len(failures(trials))
    finished = any(t.state in FINISHED for t in trials)
    return failed >= (max(FIRST_FAILURES, FAILURES_PER_TRIAL * total) if finished else FIRST_FAILURES)


def failures(trials: Sequence[FrozenTrial]) -> list[str]:
    """Give the reasons for which trials failed by themselves, so not those that were interrupted."""
    reasons = [failure_reason(t) for t in trials if t.state == TrialState.FAIL]
    return [reason for reason in reasons if reason != INTERRUPTED]
