"""The count is exact: never one finished trial too many, none too few, whoever is killed at whatever step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState, create_trial

from matcard.study.workers import queue as trial_queue
from matcard.study.workers.queue import (
    DIED,
    FAILURE,
    INTERRUPTED,
    RETRY_OF,
    TrialQueue,
    add_waiting,
    entitled,
    failure_reason,
    put_back,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Killed(BaseException):
    """A worker is killed between two steps."""


class Simulation:
    """Workers of one study that take turns as drawn, with views of it as old as drawn."""

    def __init__(self, total: int, workers: int) -> None:
        self.storage = InMemoryStorage()
        self.study = optuna.create_study(storage=self.storage)
        self.total = total
        self.queues = [TrialQueue(self.study, self.storage, total) for _ in range(workers)]
        self.views: list[list[FrozenTrial]] = [[] for _ in range(workers)]
        self.running: dict[int, FrozenTrial] = {}

    def step(self, worker: int, action: str) -> None:
        queue = self.queues[worker]
        if action == "open":
            queue.open()
        elif action == "look":
            self.views[worker] = list(queue.trials())
        elif action == "mend":
            queue.mend(self.views[worker])
        elif worker not in self.running:
            if action == "die":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(TrialQueue, "_extend", kill)
                    try:
                        taken = queue.take(self.views[worker])
                    except Killed:
                        return
            else:
                taken = queue.take(self.views[worker])
            if taken:
                self.running[worker] = taken
        elif action in ("complete", "prune"):
            trial = self.running.pop(worker)
            self.storage.set_trial_state_values(trial._trial_id, FINISHED[action == "prune"], [0.0])
        elif action in ("fail", "die"):
            trial = self.running.pop(worker)
            self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            if action == "fail":
                put_back(self.study, self.storage.get_trial(trial._trial_id))

    def finished(self) -> int:
        return sum(trial.state in FINISHED for trial in self.queues[0].trials())

    def run_out(self) -> None:
        """Let the living end the study: trials of the dead are found, as the watch does."""
        mine = {trial._trial_id for trial in self.running.values()}
        for trial in self.study.trials:
            if trial.state == TrialState.RUNNING and trial._trial_id not in mine:
                self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                put_back(self.study, self.storage.get_trial(trial._trial_id))
        further = 3
        for _ in range(20 * self.total):
            further -= self.finished() == self.total
            if not further:
                return
            for worker in range(len(self.queues)):
                for action in ("open", "look", "take", "complete", "look", "mend"):
                    self.step(worker, action)
                assert self.finished() <= self.total


def kill(*_: object) -> None:
    raise Killed


ACTIONS = ("open", "look", "look", "take", "take", "complete", "prune", "fail", "die", "mend")


@settings(deadline=None, max_examples=60)
@given(
    total=st.integers(1, 6),
    turns=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(ACTIONS)), max_size=80),
)
def test_exactly_so_many_finish_whatever_happens(total: int, turns: list[tuple[int, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_queue, "SETTLE", 0.0)
        simulation = Simulation(total, workers=3)
        for worker, action in turns:
            simulation.step(worker, action)
            assert simulation.finished() <= total
        simulation.run_out()
        assert simulation.finished() == total
        assert [trial.number for trial in simulation.study.trials] == list(range(len(simulation.study.trials)))


@settings(deadline=None, max_examples=30)
@given(
    total=st.integers(1, 6),
    turns=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(("look", "take", "complete", "prune"))), max_size=60),
)
def test_without_failures_no_trial_too_many_is_ever_made(total: int, turns: list[tuple[int, str]]) -> None:
    simulation = Simulation(total, workers=3)
    simulation.step(0, "open")
    for worker, action in turns:
        simulation.step(worker, action)
    simulation.run_out()
    assert len(simulation.study.trials) == simulation.finished() == total


@settings(deadline=None, max_examples=30)
@given(
    total=st.integers(1, 5),
    turns=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(("look", "take", "complete", "fail"))), max_size=60),
)
def test_each_failure_costs_one_further_trial(total: int, turns: list[tuple[int, str]]) -> None:
    simulation = Simulation(total, workers=3)
    simulation.step(0, "open")
    for worker, action in turns:
        simulation.step(worker, action)
    simulation.run_out()
    failed = sum(trial.state == TrialState.FAIL for trial in simulation.study.trials)
    assert simulation.finished() == total
    assert len(simulation.study.trials) == total + failed


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(storage=InMemoryStorage())


def queue_of(study: optuna.Study, total: int) -> TrialQueue:
    return TrialQueue(study, study._storage, total)


def failed_trial(study: optuna.Study, reason: str | None, **more: object) -> FrozenTrial:
    study.add_trial(
        create_trial(
            state=TrialState.FAIL,
            params={"x": 0.25},
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
            user_attrs={"note": "defaults"} | ({FAILURE: reason} if reason else {}),
            **more,
        )
    )
    return study.trials[-1]


def test_the_first_trials_that_have_not_failed_may_begin(study: optuna.Study) -> None:
    for state in (TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING, TrialState.PRUNED, TrialState.WAITING):
        study.add_trial(create_trial(state=state, value=1.0 if state in FINISHED else None))
    assert [trial.number for trial in entitled(study.trials, 3)] == [0, 2, 3]
    queue = queue_of(study, 3)
    taken = queue.take(queue.trials())
    assert taken is not None
    assert taken.number == 2
    assert queue.take(queue.trials()) is None, "trial 4 is one too many"
    assert queue_of(study, 4).take(queue.trials()).number == 4


def test_a_waiting_trial_is_taken_once(study: optuna.Study) -> None:
    queue, other = queue_of(study, 1), queue_of(study, 1)
    queue.open()
    seen_before = other.trials()
    assert queue.take(queue.trials()) is not None
    assert other.take(seen_before) is None


def test_whoever_takes_the_last_puts_the_next_in_line_up_to_the_total(study: optuna.Study) -> None:
    queue = queue_of(study, 2)
    queue.open()
    queue.open()
    assert [t.state for t in study.trials] == [TrialState.WAITING]
    queue.take(queue.trials())
    assert [t.state for t in study.trials] == [TrialState.RUNNING, TrialState.WAITING]
    queue.take(queue.trials())
    assert [t.state for t in study.trials] == [TrialState.RUNNING, TrialState.RUNNING]


def test_trials_that_a_user_put_in_line_count(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.5}, user_attrs={"note": "defaults"})
    queue = queue_of(study, 1)
    queue.open()
    assert queue.take(queue.trials()).user_attrs == {"note": "defaults"}
    assert len(study.trials) == 1


def test_a_missing_trial_is_made_up_for_after_a_while_only(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(trial_queue.time, "monotonic", lambda: now[0])
    add_waiting(study)
    queue = queue_of(study, 2)
    monkeypatch.setattr(TrialQueue, "_extend", lambda *_: None)
    queue.take(queue.trials())
    queue.mend(queue.trials())
    now[0] = 0.9
    queue.mend(queue.trials())
    assert len(study.trials) == 1, "the one who took it may yet do so"
    now[0] = 3.1
    queue.mend(queue.trials())
    queue.mend(queue.trials())
    assert len(study.trials) == 2


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_parameters_of_a_dead_worker_are_tried_once_more(study: optuna.Study) -> None:
    put_back(study, failed_trial(study, DIED))
    again = study.trials[-1]
    assert (again.state, again.params) == (TrialState.WAITING, {"x": 0.25})
    assert again.user_attrs == {"note": "defaults", RETRY_OF: 0}
    assert RetryHeartbeatStaleTrialCallback.retry_history(again) == [0]
    assert RetryHeartbeatStaleTrialCallback.retried_trial_number(again) == 0
    put_back(study, failed_trial(study, None, system_attrs=again.system_attrs))
    given_up = study.trials[-1]
    assert (given_up.state, given_up.params) == (TrialState.WAITING, {})
    assert RETRY_OF not in given_up.user_attrs


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_an_interruption_is_no_try(study: optuna.Study) -> None:
    put_back(study, failed_trial(study, INTERRUPTED))
    again = study.trials[-1]
    assert again.params == {"x": 0.25}
    assert RetryHeartbeatStaleTrialCallback.retry_history(again) == []
    put_back(study, failed_trial(study, DIED, system_attrs=again.system_attrs))
    assert study.trials[-1].params == {"x": 0.25}


def test_a_trial_that_failed_by_itself_is_replaced_by_another(study: optuna.Study) -> None:
    put_back(study, failed_trial(study, "RuntimeError: CUDA out of memory"))
    assert study.trials[-1].params == {}


def test_a_repeated_trial_forgets_the_course_but_not_what_the_sampler_wrote(study: optuna.Study) -> None:
    attributes = {"completed_rung_0": 0.5, "cma:generation": 3, "matcard:beat": 7}
    put_back(study, failed_trial(study, DIED, system_attrs=attributes, intermediate_values={0: 0.5}))
    again = study.trials[-1]
    assert again.system_attrs["cma:generation"] == 3
    assert not {"completed_rung_0", "matcard:beat"} & set(again.system_attrs)
    assert again.intermediate_values == {}


def test_a_failure_without_words_is_a_dead_worker(study: optuna.Study) -> None:
    assert failure_reason(failed_trial(study, None)) == DIED
    assert failure_reason(failed_trial(study, "ValueError: no")) == "ValueError: no"
