"""Trials whose worker is dead: found, failed and put back in line.

A running trial carries marks of life. In a database they are Optuna's heartbeat; journal files and Optuna's gRPC proxy
have none, so there the mark is a counter among the trial's attributes. It is dead when its mark stands still for the
grace period of the *reader's* clock, so that machines need not agree on the time. On one machine the process itself is
looked for, and a dead one is found at once.
"""

from __future__ import annotations

import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import TrialState

from matcard.study.workers.queue import DIED, FAILURE, OWN, put_back
from matcard.work.life import is_gone, this_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

BEAT = OWN + "beat"
WORKER = OWN + "worker"


class LifeMarks:
    """Marks a running trial as alive, from a thread of its own, until the block ends."""

    def __init__(self, storage: BaseStorage, trial_id: int, interval: float) -> None:
        self._storage = storage
        self._trial_id = trial_id
        self._interval = interval
        self._count = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="life marks", daemon=True)

    def begin(self) -> None:
        """Make the first mark, name the worker and go on marking.

        Raises:
            UpdateFinishedTrialError: others have failed the trial meanwhile.
        """
        self._mark()
        # After the first mark: a trial that names its worker has a mark, in a database too.
        self._storage.set_trial_system_attr(self._trial_id, WORKER, this_process())
        self._thread.start()

    def end(self) -> None:
        """Make no more marks."""
        self._ended.set()
        self._thread.join()

    def __enter__(self) -> LifeMarks:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _go_on(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self._mark()
            except UpdateFinishedTrialError:
                return
            except Exception:
                continue  # the storage is away for a moment; the next mark may get through

    def _mark(self) -> None:
        self._count += 1
        if has_heartbeat(self._storage):
            self._storage.record_heartbeat(self._trial_id)  # type: ignore[attr-defined]
        else:
            self._storage.set_trial_system_attr(self._trial_id, BEAT, self._count)


class DeathWatch:
    """Finds the trials of a study whose workers are dead, fails them and puts them back in line."""

    def __init__(self, study: optuna.Study, storage: BaseStorage, grace: float) -> None:
        self._study = study
        self._storage = storage
        self._grace = grace
        self._seen: dict[int, tuple[Any, float]] = {}

    def look(self, trials: Sequence[FrozenTrial]) -> None:
        """Fail and put back every trial of the study that is found dead now."""
        if has_heartbeat(self._storage):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        self._seen = {t._trial_id: self._seen[t._trial_id] for t in running if t._trial_id in self._seen}
        for trial in running:
            if self._is_dead(trial) and self._fail(trial):
                put_back(self._study, self._storage.get_trial(trial._trial_id))

    def _is_dead(self, trial: FrozenTrial) -> bool:
        worker = trial.system_attrs.get(WORKER)
        if worker and is_gone(worker):
            return True
        if worker and has_heartbeat(self._storage):
            return False
        mark = trial.system_attrs.get(BEAT)
        now = time.monotonic()
        before, since = self._seen.get(trial._trial_id, (mark, now))
        self._seen[trial._trial_id] = (mark, since if mark == before else now)
        return bool(mark == before) and now - since > self._grace

    def _fail(self, trial: FrozenTrial) -> bool:
        """Fail a trial; False where another worker was first, or it has ended after all."""
        try:
            self._storage.set_trial_user_attr(trial._trial_id, FAILURE, DIED)
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        return True


def has_heartbeat(storage: BaseStorage) -> bool:
    """Tell whether Optuna's own heartbeat works in a storage: in databases."""
    return callable(getattr(storage, "record_heartbeat", None))
