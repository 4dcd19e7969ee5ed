"""The trials of a study: which begin, what is recorded, what a killed coordinator leaves."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial
from rich.console import Console
from study_cases import NAME, Plays, new_study, trainings, trials_of

from matcard.errors import InputError
from matcard.study.gains import show_gain
from matcard.study.settings import Settings, StudyDir, StudyOptions
from matcard.study.storage import close_storage, open_storage
from matcard.study.trials import DEFAULTS, FIRST_FAILURES, may_begin, too_many_failed
from matcard.study.tuning import held_elsewhere
from matcard.work.attempt import Wire, attempt
from matcard.work.conduct import KILLED, Interruption, conduct
from matcard.work.folder import held
from matcard.work.pool import Inline


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def plays(log, **options):
    return lambda config: Plays(config.optimizer.lr, log, **options)


def run(study, folder, make_job, total, **options):
    """Have trials made in this process; gives the agenda."""
    with trials_of(study, folder, make_job, total, **options) as agenda, Interruption() as interruption:
        conduct(agenda, cache(partial(Inline, interruption)), folder / "running", interruption)
        return agenda


def states(folder):
    study = optuna.load_study(study_name=NAME, storage=open_storage(None, folder))
    return [trial.state.name.lower() for trial in study.trials]


def trial(number, state):
    made = create_trial(state=TrialState[state], value=0.5 if state == "COMPLETE" else None)
    made.number = number
    return made


@given(
    st.integers(1, 8),
    st.integers(1, 4),
    st.booleans(),
    st.lists(st.sampled_from(["ends", "ends", "pruned", "fails", "dies"]), max_size=40),
    st.integers(0, 12),
)
def test_exactly_so_many_finish_whatever_happens(total, workers, replaced, events, waiting):
    """The whole decision, driven without any storage: trials in line first, the dead again, no more than there are."""
    trials = [trial(k, "WAITING") for k in range(waiting)]
    running, begun = [], []
    for event in [*events, *["ends"] * 100]:
        while len(running) < workers:
            number = may_begin(trials, total, running, replaced=replaced)
            if number is None:
                break
            assert number not in running
            if number == len(trials):
                trials.append(trial(number, "RUNNING"))
            trials[number] = trial(number, "RUNNING")
            running.append(number)
            begun.append(number)
        if not running:
            break
        number = running.pop(0)
        if event != "dies":
            trials[number] = trial(number, {"ends": "COMPLETE", "pruned": "PRUNED", "fails": "FAIL"}[event])
    finished = sum(one.state in (TrialState.COMPLETE, TrialState.PRUNED) for one in trials)
    failed = sum(one.state == TrialState.FAIL for one in trials)
    assert not any(one.state == TrialState.RUNNING for one in trials)
    assert finished == (total if replaced else min(total, waiting - failed))
    first = list(dict.fromkeys(begun))
    assert first == list(range(len(first))), "in line"


def test_a_study_finishes_so_many_and_goes_on_with_more(tmp_path, log):
    agenda = run(new_study(tmp_path), tmp_path, plays(log), 3)
    assert states(tmp_path) == ["complete"] * 3
    assert agenda.summary() == "3 trials are finished"
    run(new_study(tmp_path, sampler=optuna.samplers.RandomSampler(1)), tmp_path, plays(log), 5)
    assert states(tmp_path) == ["complete"] * 5
    assert len(set(trainings(log))) == 5
    assert not (tmp_path / "running").exists()
    assert sorted(path.name for path in (tmp_path / "trials").iterdir()) == [f"{k:04d}" for k in range(5)]


def test_a_failed_trial_is_replaced_by_another_but_not_on_a_grid(tmp_path, log):
    study = new_study(tmp_path / "a")
    study.enqueue_trial({"optimizer.lr": 0.05})
    agenda = run(study, tmp_path / "a", plays(log, most=0.03), 4)
    found = states(tmp_path / "a")
    assert found.count("complete") == 4
    assert found[0] == "fail"
    assert "1 failed trials: a rate of 0.05" in agenda.summary()
    study = new_study(tmp_path / "grid")
    points = [0.002, 0.01, 0.05]
    for point in points:
        study.enqueue_trial({"optimizer.lr": point})
    agenda = run(study, tmp_path / "grid", plays(log, most=0.03), 3, points=3)
    assert states(tmp_path / "grid") == ["complete", "complete", "fail"], "nothing off the grid"
    study = optuna.load_study(study_name=NAME, storage=open_storage(None, tmp_path / "grid"))
    assert [one.params["optimizer.lr"] for one in study.trials] == points
    assert agenda.summary().startswith("2 trials are finished; 1 of 1 failed trials: a rate of 0.05")
    study = new_study(tmp_path / "part")
    for point in (0.05, 0.002, 0.01, 0.02):
        study.enqueue_trial({"optimizer.lr": point})
    run(study, tmp_path / "part", plays(log, most=0.03), 2, points=4)
    assert states(tmp_path / "part") == ["fail", "complete", "complete", "waiting"], "another for the first"


@contextmanager
def at_work(begun):
    with held(begun.folder.path, "--study"), held_elsewhere(begun):
        yield


def test_a_copy_of_a_study_in_a_database_waits_for_the_other(tmp_path, log):
    url = f"sqlite:///{tmp_path}/studies.db"
    settings = Settings({}, {}, {}, StudyOptions(storage=url), name=NAME)
    original, copy = (
        SimpleNamespace(
            study=new_study(tmp_path / name, url),
            folder=StudyDir(tmp_path / name),
            settings=settings,
        )
        for name in ("original", "copy")
    )
    settings.write(original.folder.settings)
    settings.write(copy.folder.settings)
    refused = pytest.raises(InputError, match="original is at work already")
    with ExitStack() as stack:
        stack.enter_context(at_work(original))
        stack.enter_context(refused)
        stack.enter_context(at_work(copy))
    with at_work(copy), refused, held(original.folder.path, "--study"):
        raise AssertionError("the copy holds both")
    with at_work(original):
        pass
    replace(settings, name="another").write(original.folder.settings)
    with held(original.folder.path, "--study"), at_work(copy):
        pass  # the directory was renamed, and another study began in its place
    for each in (original, copy):
        close_storage(each.study._storage)


def test_a_trial_whose_folder_is_gone_is_not_compared(tmp_path, log):
    study = new_study(tmp_path)
    study.enqueue_trial({"optimizer.lr": 0.01}, user_attrs={DEFAULTS: True})
    run(study, tmp_path, plays(log), 2)
    study = new_study(tmp_path)
    shutil.rmtree(tmp_path / "trials/0000")
    begun = SimpleNamespace(
        study=study, folder=StudyDir(tmp_path), settings=SimpleNamespace(options=None), metrics=["macro_f1"]
    )
    console = Console(file=io.StringIO(), width=200)
    show_gain(begun, [study.best_trial], None, console)
    assert f"no comparison with the defaults: {tmp_path / 'trials'}" in console.file.getvalue()
    close_storage(study._storage)


def test_an_undefined_value_fails_the_trial(tmp_path, log):
    agenda = run(new_study(tmp_path), tmp_path, plays(log), 2, metrics=["mcc"])
    assert agenda.stop == "failing"
    assert states(tmp_path) == ["fail"] * FIRST_FAILURES
    assert "too many trials fail (10) with 0 of 2 finished; 10 of 10 failed trials: validation MCC" in agenda.summary()


def test_failures_of_earlier_commands_do_not_count_against_this_one():
    failed = [trial(k, "FAIL") for k in range(FIRST_FAILURES)]
    assert too_many_failed(failed, 5)
    assert not too_many_failed(failed[1:], 5)
    assert not too_many_failed([trial(0, "COMPLETE"), *failed[:9]], 5), "twice as many as were to finish"
    assert too_many_failed([trial(0, "COMPLETE"), *failed], 5)


def test_no_trial_begins_after_the_time_is_up(tmp_path, log):
    agenda = run(new_study(tmp_path), tmp_path, plays(log), 3, timeout=-1)
    assert agenda.stop == "timeout"
    assert agenda.summary() == "the time is up with 0 of 3 trials finished"
    assert states(tmp_path) == []


def test_the_coordinator_prunes(tmp_path, log):
    study = new_study(tmp_path, pruner=optuna.pruners.ThresholdPruner(lower=0.5))
    for rate in (0.01, 0.1):
        study.enqueue_trial({"optimizer.lr": rate})
    run(study, tmp_path, plays(log, epochs=2), 2)
    study = optuna.load_study(study_name=NAME, storage=open_storage(None, tmp_path))
    assert [one.state.name for one in study.trials] == ["COMPLETE", "PRUNED"]
    assert [len(one.intermediate_values) for one in study.trials] == [2, 1]


def test_trials_that_a_killed_coordinator_left_running(tmp_path, log):
    """One of them had ended and was not recorded, one had been moved into its place, one must go on."""
    study = new_study(tmp_path)
    with trials_of(study, tmp_path, plays(log), 5) as agenda:
        given = [agenda.next(running)[0] for running in ({"0000", "0001"}, {"0000", "0001"}, {"0000"})]
        assert given == ["0000", "0001", "0001"], "given again until it has ended"
    with trials_of(new_study(tmp_path), tmp_path, plays(log), 5) as agenda:
        jobs = {}
        for _ in range(3):
            jobs |= dict([agenda.next(set(jobs))])
        assert list(jobs) == ["0000", "0001", "0002"]
    ended, moved, _ = jobs.values()
    attempt(ended, tmp_path / "running/0000/1", Wire(lambda _: None), alone=False)
    attempt(moved, tmp_path / "trials/0001", Wire(lambda _: None), alone=False)
    before = trainings(log)
    run(new_study(tmp_path), tmp_path, plays(log), 5)
    assert states(tmp_path) == ["complete"] * 5
    assert trainings(log)[:2] == before
    assert len(trainings(log)) == 5, "nothing twice"


KILLED_ALONE = """
import sys
from pathlib import Path
from study_cases import new_study
from test_study_trials import plays, run

folder = Path(sys.argv[1])
run(new_study(folder), folder, plays(folder / "log", kill=folder / "kill"), 3)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
def test_a_study_of_one_process_that_is_killed_goes_on_and_a_trial_that_kills_it_fails(tmp_path, log):
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    again = partial(
        subprocess.run, [sys.executable, "-c", KILLED_ALONE, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    )
    for _ in range(2):
        (tmp_path / "kill").touch()
        assert again(check=False).returncode == -9
    assert states(tmp_path) == ["running"]
    again(check=True)
    assert states(tmp_path) == ["fail", "complete", "complete", "complete"]
    study = optuna.load_study(study_name=NAME, storage=open_storage(None, tmp_path))
    assert study.trials[0].user_attrs["failure"] == KILLED
