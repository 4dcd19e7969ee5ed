"""One worker in this process: it counts, repeats, records failures, stops, and leaves the books in order."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.trial import TrialState
from study_cases import NAME, Quadratic, finished, new_study, stored, tpe

from matcard.errors import InputError, MatcardWarning
from matcard.study.storage import outage
from matcard.study.workers import queue as trial_queue
from matcard.study.workers import run as workers
from matcard.study.workers.queue import DIED, FAILURE, INTERRUPTED, RETRY_OF, TrialQueue, put_back
from matcard.study.workers.run import RunSummary, run_trials
from matcard.study.workers.worker import as_values, too_many_failed
from matcard.work.interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def run(folder: Path, objective: Callable[[optuna.Trial], Any], total: int, **options: Any) -> RunSummary:
    return run_trials(
        NAME, objective, options.pop("make_sampler", tpe), **({"url": None, "folder": folder, "total": total} | options)
    )


def states(folder: Path) -> Counter[str]:
    return Counter(trial.state.name for trial in stored(folder))


def space(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    y = trial.suggest_float("y", 1e-3, 1, log=True)
    return (
        (x - 0.3) ** 2
        + y
        + (trial.suggest_float("z", 0, 1) if trial.suggest_categorical("c", ["a", "b"]) == "b" else 0)
    )


def pair(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2 + trial.suggest_int("k", 0, 2)


GRID = {"x": [-1.0, 0.0, 1.0], "k": [0, 1, 2]}
SAMPLERS: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "tpe": lambda: optuna.samplers.TPESampler(
        seed=3, n_startup_trials=4, multivariate=True, group=True, constant_liar=True
    ),
    "cma-es": lambda: optuna.samplers.CmaEsSampler(seed=3, n_startup_trials=2),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=3, scramble=True),
    "grid": lambda: optuna.samplers.GridSampler(GRID, seed=3),
}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_seeded_study_of_one_worker_is_optunas_own_and_repeats(tmp_path: Path, name: str) -> None:
    if name == "cma-es":
        pytest.importorskip("cmaes", reason="cmaes is not installed")
    objective = space if name == "tpe" else pair
    plain = optuna.create_study(sampler=SAMPLERS[name](), study_name=NAME)
    plain.optimize(objective, n_trials=9)
    for folder in (tmp_path / "a", tmp_path / "b"):
        new_study(folder)
        run(folder, objective, 9, make_sampler=lambda _: SAMPLERS[name]())
        assert [(t.params, t.values) for t in stored(folder)] == [(t.params, t.values) for t in plain.trials]


def test_pruning_repeats_too(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        for step in range(4):
            trial.report(x * step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    pruner = optuna.pruners.HyperbandPruner(max_resource=4)
    plain = optuna.create_study(sampler=tpe(0), study_name=NAME, pruner=pruner)
    plain.optimize(objective, n_trials=12)
    new_study(tmp_path)
    summary = run(tmp_path, objective, 12, pruner=pruner)
    assert [(t.state, t.values) for t in stored(tmp_path)] == [(t.state, t.values) for t in plain.trials]
    assert states(tmp_path).keys() == {"COMPLETE", "PRUNED"}
    assert summary.finished == 12


def test_so_many_finish_and_no_trial_is_left_over(tmp_path: Path) -> None:
    new_study(tmp_path)
    summary = run(tmp_path, Quadratic(), 5)
    assert summary == RunSummary(5, 0, 5, "done", "5 trials are finished")
    assert states(tmp_path) == {"COMPLETE": 5}


def test_total_counts_what_is_finished_already(tmp_path: Path) -> None:
    new_study(tmp_path)
    run(tmp_path, Quadratic(), 3)
    assert run(tmp_path, Quadratic(), 3).finished == 3
    assert run(tmp_path, Quadratic(), 7).finished == 7
    assert run(tmp_path, Quadratic(), 2).finished == 7
    assert states(tmp_path) == {"COMPLETE": 7}


def test_a_later_worker_draws_other_values_than_the_first(tmp_path: Path) -> None:
    new_study(tmp_path)
    numbers: list[int] = []

    def make_sampler(number: int) -> optuna.samplers.BaseSampler:
        numbers.append(number)
        return optuna.samplers.RandomSampler(seed=number)

    for total in (3, 6, 9):
        run(tmp_path, Quadratic(), total, make_sampler=make_sampler)
    assert numbers == [0, 3, 6]
    assert len({trial.params["x"] for trial in stored(tmp_path)}) == 9


def test_several_objectives(tmp_path: Path) -> None:
    new_study(tmp_path, directions=["minimize", "maximize"])
    run(tmp_path, lambda trial: (trial.suggest_float("x", 0, 1), 2.0), 3)
    assert all(trial.values[1] == 2.0 for trial in stored(tmp_path))


def test_each_trial_that_ends_is_told_once(tmp_path: Path) -> None:
    new_study(tmp_path)
    told: list[tuple[int, str]] = []

    def failing_second(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise RuntimeError("CUDA out of memory")
        return 1.0

    def on_trial(trial: optuna.trial.FrozenTrial) -> None:
        told.append((trial.number, trial.state.name))

    run(tmp_path, failing_second, 3, on_trial=on_trial)
    assert told == [(0, "COMPLETE"), (1, "FAIL"), (2, "COMPLETE"), (3, "COMPLETE")]
    told.clear()
    run(tmp_path, failing_second, 4, on_trial=on_trial)
    assert told == [(4, "COMPLETE")]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (RuntimeError("CUDA out of memory"), "RuntimeError: CUDA out of memory"),
        (MemoryError(), "MemoryError"),
        (SystemExit(3), "the objective exited: 3"),
        (math.nan, "the objective is nan"),
        (math.inf, "the objective is inf"),
        (None, "the objective gave None, which is no number"),
        ("word", "the objective gave 'word', which is no number"),
        ((1.0, 2.0), "the objective gave 2 values for 1 objectives"),
        (RuntimeError("x" * 5000), "RuntimeError: " + "x" * 986),
    ],
)
def test_a_failing_trial_is_recorded_and_another_takes_its_place(tmp_path: Path, result: Any, reason: str) -> None:
    new_study(tmp_path)

    def objective(trial: optuna.Trial) -> Any:
        trial.suggest_float("x", -1, 1)
        if trial.number != 1:
            return 1.0
        if isinstance(result, BaseException):
            raise result
        return result

    summary = run(tmp_path, objective, 3)
    assert (summary.finished, summary.failed, summary.stopped) == (3, 1, "done")
    trials = stored(tmp_path)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[1].user_attrs[FAILURE].rstrip(": ") == reason
    assert reason in summary.message


def test_a_sampler_that_fails_fails_the_trial(tmp_path: Path) -> None:
    class Broken(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            if trial.number == 0:
                raise ValueError("no points")

    new_study(tmp_path)
    assert run(tmp_path, Quadratic(), 2, make_sampler=lambda _: Broken()).finished == 2
    assert stored(tmp_path)[0].user_attrs[FAILURE] == "ValueError: no points"


def test_a_study_whose_first_ten_fail_stops_and_says_why(tmp_path: Path) -> None:
    new_study(tmp_path)

    def objective(trial: optuna.Trial) -> float:
        raise RuntimeError(f"no column {trial.number!r} of {trial.number}e-3" if trial.number != 4 else "other")

    summary = run(tmp_path, objective, 50)
    assert (summary.stopped, summary.finished, summary.failed) == ("failing", 0, 10)
    assert "9 of 10 failed trials: RuntimeError: no column 0 of 0e-3" in summary.message
    assert run(tmp_path, Quadratic(), 4).stopped == "done", "mended, the study goes on"


def test_a_study_in_which_far_more_fail_than_finish_stops(tmp_path: Path) -> None:
    new_study(tmp_path)

    def objective(trial: optuna.Trial) -> float:
        if trial.number != 0:
            raise ValueError("collapsed")
        return 1.0

    summary = run(tmp_path, objective, 8)
    assert (summary.stopped, summary.finished, summary.failed) == ("failing", 1, 16)


def test_interrupted_trials_are_no_failures() -> None:
    def failed(reason: str) -> optuna.trial.FrozenTrial:
        return optuna.trial.create_trial(state=TrialState.FAIL, user_attrs={FAILURE: reason})

    assert not too_many_failed([failed(INTERRUPTED)] * 30, 5)
    assert not too_many_failed([failed(DIED)] * 9, 5)
    assert too_many_failed([failed(DIED)] * 10, 5)


def test_no_trial_begins_after_the_time_is_up(tmp_path: Path) -> None:
    new_study(tmp_path)
    summary = run(tmp_path, Quadratic(nap=0.15), 50, timeout=0.3)
    assert summary.stopped == "timeout"
    assert 1 <= summary.finished <= 3
    assert f"{summary.finished} of 50" in summary.message
    assert run(tmp_path, Quadratic(), 4).finished == 4


def test_a_grid_ends_the_study_when_it_is_used_up(tmp_path: Path) -> None:
    new_study(tmp_path)
    summary = run(tmp_path, pair, 50, make_sampler=lambda _: SAMPLERS["grid"]())
    assert summary.stopped == "exhausted"
    points = [(t.params["x"], t.params["k"]) for t in finished(stored(tmp_path))]
    assert sorted(points) == sorted((x, k) for x in GRID["x"] for k in GRID["k"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_puts_the_trial_back_and_says_what_is_kept(tmp_path: Path, number: signal.Signals) -> None:
    new_study(tmp_path)
    before = signal.getsignal(number)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        if trial.number == 2:
            os.kill(os.getpid(), number)
            time.sleep(10)
        return x * x

    with pytest.raises(KeyboardInterrupt) as stop:
        run(tmp_path, objective, 5, go_on=f"--study {NAME}")
    assert str(stop.value).startswith("2 of 5 trials are finished and kept")
    assert str(stop.value).endswith(f"; go on with --study {NAME}")
    assert signal.getsignal(number) is before
    broken_off = stored(tmp_path)[2]
    assert broken_off.user_attrs[FAILURE] == INTERRUPTED
    assert run(tmp_path, Quadratic(), 5).finished == 5
    again = [trial for trial in stored(tmp_path) if trial.user_attrs.get(RETRY_OF) == 2]
    assert [(trial.state, trial.params) for trial in again] == [(TrialState.COMPLETE, broken_off.params)]
    assert states(tmp_path) == {"COMPLETE": 5, "FAIL": 1}


def test_lightnings_exit_on_a_signal_is_an_interruption(tmp_path: Path) -> None:
    new_study(tmp_path)

    def objective(trial: optuna.Trial) -> float:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            raise SystemExit(1) from None
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, objective, 5)
    assert stored(tmp_path)[0].user_attrs[FAILURE] == INTERRUPTED


def test_signals_wait_until_the_books_are_in_order() -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt), interruption.allowed():
            pytest.fail("the block must not begin")
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_trial_taken_away_meanwhile_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that slept through its grace period finds its trial failed by others, who were then killed."""
    monkeypatch.setattr(trial_queue, "SETTLE", 0.01)
    study = new_study(tmp_path)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        if trial.number == 1:
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return x

    assert run(tmp_path, objective, 3).finished == 3
    assert [trial.state.name for trial in stored(tmp_path)] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_trial_taken_away_before_it_began_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = new_study(tmp_path)
    take = TrialQueue.take

    def and_lose_the_second(self: TrialQueue, trials: list[optuna.trial.FrozenTrial]) -> Any:
        taken = take(self, trials)
        if taken is not None and taken.number == 1:
            study._storage.set_trial_state_values(taken._trial_id, TrialState.FAIL)
            put_back(study, study.trials[1])
        return taken

    monkeypatch.setattr(TrialQueue, "take", and_lose_the_second)
    assert run(tmp_path, Quadratic(), 3).finished == 3
    assert states(tmp_path) == {"COMPLETE": 3, "FAIL": 1}
    assert stored(tmp_path)[1].params == {}, "its objective was never called"


def test_a_storage_that_is_away_for_a_while_costs_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_study(tmp_path)
    write = JournalStorage.set_trial_state_values
    away = [OSError("no space left"), StorageInternalError("gone"), OSError("no space left")]

    def sometimes(self: JournalStorage, *arguments: Any) -> bool:
        if away and arguments[1] in (TrialState.COMPLETE, TrialState.RUNNING):
            raise away.pop()
        return write(self, *arguments)

    pauses: list[float] = []
    monkeypatch.setattr(JournalStorage, "set_trial_state_values", sometimes)
    monkeypatch.setattr(outage.time, "sleep", pauses.append)
    assert run(tmp_path, Quadratic(), 3).finished == 3
    assert states(tmp_path) == {"COMPLETE": 3}
    assert 0.5 in pauses


def test_a_storage_that_stays_away_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "PATIENCE", 0.0)

    def call() -> None:
        raise OSError("gone")

    with Interruption() as interruption, pytest.raises(OSError, match="gone"):
        outage.patiently(call, interruption)


def test_an_error_of_the_program_is_no_outage() -> None:
    assert not outage.is_outage(ValueError("wrong"))


@pytest.mark.parametrize(("result", "values"), [(1, [1.0]), ([1, 2.5], [1.0, 2.5]), ((True, 0), [1.0, 0.0])])
def test_results_become_numbers(result: Any, values: list[float]) -> None:
    assert as_values(result, len(values)) == (values, None)


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--study study: no such study"):
        run(tmp_path, Quadratic(), 3)
    new_study(tmp_path)
    for wrong in ({"total": 0}, {"jobs": 0}):
        with pytest.raises(InputError, match="expected 1 or more"):
            run(tmp_path, Quadratic(), **({"total": 3} | wrong))


def test_sqlite_warns_of_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCrew:
        def __init__(self, *_: object) -> None: ...

        def work(self, *_: object) -> str:
            return "done"

    monkeypatch.setattr(workers, "Crew", NoCrew)
    url = f"sqlite:///{tmp_path}/studies.db"
    new_study(tmp_path, url)
    with pytest.warns(MatcardWarning, match="SQLite does not keep several processes apart"):
        run(tmp_path, Quadratic(), 2, url=url, jobs=2)
