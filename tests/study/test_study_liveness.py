"""Dead workers are told from slow ones, on this machine at once and elsewhere after the grace period."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.storages import InMemoryStorage, get_storage
from optuna.trial import TrialState
from study_cases import NAME, new_study

from matcard.errors import InputError
from matcard.study.storage.opening import open_storage
from matcard.study.workers import liveness
from matcard.study.workers.liveness import BEAT, WORKER, DeathWatch, LifeMarks, has_heartbeat
from matcard.study.workers.queue import DIED, FAILURE, RETRY_OF
from matcard.work import life
from matcard.work.life import Heartbeat, is_gone, this_process

if TYPE_CHECKING:
    from pathlib import Path

GRACE = 10.0
ELSEWHERE = {"host": "node7", "machine": "another", "pid": 1, "started": 1}


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(storage=InMemoryStorage())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now[0])
    return now


def run_by(study: optuna.Study, worker: dict[str, Any] | None, beat: int | None = 1) -> int:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    for key, value in ((WORKER, worker), (BEAT, beat)):
        if value is not None:
            study._storage.set_trial_system_attr(trial._trial_id, key, value)
    return trial._trial_id


def watch_of(study: optuna.Study) -> DeathWatch:
    return DeathWatch(study, study._storage, GRACE)


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def ended_process() -> dict[str, Any]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    worker = this_process() | {"pid": child.pid, "started": life._start_time(child.pid)}
    assert not is_gone(worker)
    child.kill()
    if sys.platform == "linux":
        until = time.monotonic() + 10
        while not is_gone(worker) and time.monotonic() < until:
            time.sleep(0.01)
        assert is_gone(worker), "a process that has ended but was not waited for is dead, too"
    child.wait()
    return worker


def test_a_process_of_this_machine_is_seen_to_be_gone() -> None:
    assert is_gone(ended_process())
    assert not is_gone(this_process())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began")
def test_a_process_that_got_a_dead_ones_number_is_another() -> None:
    assert is_gone(this_process() | {"started": 1})


def test_of_another_machine_nothing_is_known() -> None:
    assert not is_gone(ended_process() | {"machine": "another"})


def test_a_dead_process_is_found_at_once_and_its_trial_put_back(study: optuna.Study) -> None:
    run_by(study, ended_process())
    alive = run_by(study, this_process())
    watch_of(study).look(study.trials)
    assert states(study) == ["FAIL", "RUNNING", "WAITING"]
    dead, _, again = study.trials
    assert dead.user_attrs[FAILURE] == DIED
    assert again.params == dead.params
    assert again.user_attrs[RETRY_OF] == 0
    assert study.trials[1]._trial_id == alive


@pytest.mark.parametrize("worker", [ELSEWHERE, None])
def test_a_mark_that_stands_still_for_the_grace_period_is_death(
    study: optuna.Study, clock: list[float], worker: dict[str, Any] | None
) -> None:
    run_by(study, worker, beat=None if worker is None else 1)
    watch = watch_of(study)
    for clock[0] in (100.0, 105.0, 100.0 + GRACE):
        watch.look(study.trials)
        assert states(study) == ["RUNNING"]
    clock[0] += 0.1
    watch.look(study.trials)
    assert states(study) == ["FAIL", "WAITING"]


def test_a_mark_that_moves_is_life(study: optuna.Study, clock: list[float]) -> None:
    trial_id = run_by(study, ELSEWHERE)
    watch = watch_of(study)
    for beat in range(2, 9):
        clock[0] += 0.9 * GRACE
        watch.look(study.trials)
        study._storage.set_trial_system_attr(trial_id, BEAT, beat)
    clock[0] += 0.9 * GRACE
    watch.look(study.trials)
    assert states(study) == ["RUNNING"]


def test_a_trial_that_ended_after_the_view_was_taken_is_left_alone(study: optuna.Study) -> None:
    trial_id = run_by(study, ended_process())
    view = study.trials
    study._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    watch_of(study).look(view)
    assert states(study) == ["COMPLETE"]


def test_two_watches_put_a_trial_back_once(study: optuna.Study) -> None:
    run_by(study, ended_process())
    view = study.trials
    watch_of(study).look(view)
    watch_of(study).look(view)
    assert states(study) == ["FAIL", "WAITING"]


def test_a_running_trial_is_marked_until_its_block_ends(study: optuna.Study) -> None:
    trial = study.ask()
    with LifeMarks(study._storage, trial._trial_id, 0.01):
        until = time.monotonic() + 10
        while study.trials[0].system_attrs[BEAT] < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert study.trials[0].system_attrs[BEAT] >= 3
    assert study.trials[0].system_attrs[WORKER] == this_process()
    assert "life marks" not in [thread.name for thread in threading.enumerate()]


def test_marks_go_on_when_the_storage_was_away(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = study.ask()
    write = study._storage.set_trial_system_attr
    failures = []

    def away_for_a_while(trial_id: int, key: str, value: Any) -> None:
        if key == BEAT and value in (2, 3):
            failures.append(value)
            raise OSError("stale file handle")
        write(trial_id, key, value)

    monkeypatch.setattr(study._storage, "set_trial_system_attr", away_for_a_while)
    with LifeMarks(study._storage, trial._trial_id, 0.01):
        until = time.monotonic() + 10
        while study.trials[0].system_attrs[BEAT] < 4 and time.monotonic() < until:
            time.sleep(0.01)
    assert failures == [2, 3]
    assert study.trials[0].system_attrs[BEAT] >= 4


def test_marks_end_when_others_have_failed_the_trial(study: optuna.Study) -> None:
    trial = study.ask()
    with LifeMarks(study._storage, trial._trial_id, 0.01) as marks:
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        marks._thread.join(10)
        assert not marks._thread.is_alive()


def test_databases_are_marked_by_optunas_own_heartbeat(tmp_path: Path, clock: list[float]) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    study = new_study(tmp_path, url)
    storage = study._storage
    assert has_heartbeat(storage)
    assert not has_heartbeat(open_storage(None, tmp_path))
    assert not has_heartbeat(get_storage(None))
    trial_id = storage.create_new_trial(storage.get_study_id_from_name(NAME))
    with LifeMarks(storage, trial_id, 60):
        pass
    with storage._backend.engine.connect() as connection:
        rows = connection.exec_driver_sql("select trial_id from trial_heartbeats").fetchall()
    assert rows == [(trial_id,)]
    # What Optuna itself cannot see: a worker that was killed before its first mark.
    storage.create_new_trial(storage.get_study_id_from_name(NAME))
    watch = DeathWatch(study, storage, GRACE)
    watch.look(study.trials)
    clock[0] += GRACE + 1
    watch.look(study.trials)
    assert states(study) == ["RUNNING", "FAIL", "WAITING"]


@pytest.mark.parametrize(("interval", "grace"), [(0, 10), (10, 19), (-1, 5)])
def test_a_heartbeat_that_cannot_be_told_from_silence_is_refused(interval: int, grace: int) -> None:
    with pytest.raises(InputError, match="expected"):
        Heartbeat(interval, grace)


def test_where_processes_cannot_be_looked_for_only_the_marks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = ended_process()
    monkeypatch.setattr(os, "name", "nt")
    assert not is_gone(worker)
