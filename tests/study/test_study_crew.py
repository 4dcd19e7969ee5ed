"""Several processes on one study: none lost, none twice, one killed, all interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.trial import TrialState
from study_cases import NAME, KilledOnce, Quadratic, finished, new_study, stored, tpe, wait_for

from matcard.errors import InputError, TrainingError
from matcard.study.workers.queue import DIED, FAILURE, INTERRUPTED, RETRY_OF
from matcard.study.workers.run import run_trials
from matcard.work.processes import THREADS

if TYPE_CHECKING:
    import optuna


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@dataclass(frozen=True)
class Environment:
    """Writes what two workers see into their trials; each waits for the other, so that both have one."""

    folder: str

    def __call__(self, trial: optuna.Trial) -> float:
        trial.set_user_attr("threads", os.environ["OMP_NUM_THREADS"])
        trial.set_user_attr("gpu", os.environ["CUDA_VISIBLE_DEVICES"])
        (Path(self.folder) / f"worker-{os.getpid()}").touch()
        wait_for(lambda: len(list(Path(self.folder).glob("worker-*"))) == 2)
        return trial.suggest_float("x", -1, 1)


@dataclass(frozen=True)
class Refusing:
    """A sampler that cannot be made: the worker itself ends with an error."""

    error: type[Exception]

    def __call__(self, number: int) -> optuna.samplers.BaseSampler:
        raise self.error("there is no such sampler")


def test_four_processes_finish_exactly_so_many(tmp_path: Path) -> None:
    new_study(tmp_path)
    told: list[int] = []
    summary = run_trials(
        NAME,
        Quadratic(nap=0.1),
        tpe,
        url=None,
        folder=tmp_path,
        total=24,
        jobs=4,
        on_trial=lambda trial: told.append(trial.number),
    )
    trials = stored(tmp_path)
    assert (summary.finished, summary.failed, summary.stopped) == (24, 0, "done")
    assert [trial.number for trial in trials] == list(range(24))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({trial.params["x"] for trial in trials}) == 24
    assert sorted(told) == list(range(24))


def test_a_share_of_the_cores_and_a_gpu_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    new_study(tmp_path)
    run_trials(NAME, Environment(str(tmp_path)), tpe, url=None, folder=tmp_path, total=2, jobs=2)
    trials = stored(tmp_path)
    assert sorted(trial.user_attrs["gpu"] for trial in trials) == ["3", "5"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert {trial.user_attrs["threads"] for trial in trials} == {str(max(1, cores // 2))}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_killed_workers_trial_is_tried_again_and_the_study_ends(tmp_path: Path) -> None:
    new_study(tmp_path)
    summary = run_trials(NAME, KilledOnce(number=2), tpe, url=None, folder=tmp_path, total=8, jobs=2)
    assert (summary.finished, summary.failed, summary.stopped) == (8, 1, "done")
    trials = stored(tmp_path)
    assert [t.number for t in trials if t.state == TrialState.FAIL] == [2]
    assert trials[2].user_attrs[FAILURE] == DIED
    (again,) = [trial for trial in trials if RETRY_OF in trial.user_attrs]
    assert (again.state, again.params, again.user_attrs[RETRY_OF]) == (TrialState.COMPLETE, trials[2].params, 2)
    assert len(finished(trials)) == 8


def work_alone(objective: KilledOnce | Quadratic, folder: Path, total: int) -> None:
    run_trials(NAME, objective, tpe, url=None, folder=folder, total=total)


def test_a_study_goes_on_after_its_only_worker_was_killed(tmp_path: Path) -> None:
    new_study(tmp_path)
    worker = multiprocessing.get_context("spawn").Process(target=work_alone, args=(KilledOnce(2), tmp_path, 5))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    before = stored(tmp_path)
    assert run_trials(NAME, Quadratic(), tpe, url=None, folder=tmp_path, total=5).finished == 5
    trials = stored(tmp_path)
    assert [(t.number, t.values) for t in trials[:2]] == [(t.number, t.values) for t in before[:2]]
    assert [t.number for t in trials if t.state != TrialState.COMPLETE] == [2]
    assert [t.params for t in trials if t.user_attrs.get(RETRY_OF) == 2] == [before[2].params]
    assert len(trials) == 6


def test_workers_that_were_started_on_their_own_share_the_count(tmp_path: Path) -> None:
    """As the tasks of a job array are."""
    new_study(tmp_path)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work_alone, args=(Quadratic(nap=0.05), tmp_path, 15)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    trials = stored(tmp_path)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({trial.params["x"] for trial in trials}) == len(trials) == 15


SCRIPT = """
import sys
from pathlib import Path
from study_cases import NAME, SlowAfter, new_study, tpe
from matcard.cli import run_command
from matcard.study.workers.run import run_trials

def main(argv):
    folder = Path(argv[0])
    new_study(folder)
    run_trials(NAME, SlowAfter(argv[0], 3), tpe, url=None, folder=folder, total=9, jobs=2)

if __name__ == "__main__":
    run_command(main)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
@pytest.mark.parametrize("to_all", [True, False])
def test_ctrl_c_ends_all_workers_cleanly(tmp_path: Path, to_all: bool) -> None:
    """A terminal sends it to all processes; a job scheduler, or kill, to the parent alone."""
    script = tmp_path / "main.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        wait_for(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 130
    assert "interrupted: 3 of 9 trials are finished and kept" in said
    assert "Traceback" not in said
    trials = stored(tmp_path)
    broken_off = [t for t in trials if t.state == TrialState.FAIL]
    assert [t.user_attrs[FAILURE] for t in broken_off] == [INTERRUPTED] * 2
    run_trials(NAME, Quadratic(), tpe, url=None, folder=tmp_path, total=9)
    trials = stored(tmp_path)
    assert len(finished(trials)) == 9
    again = {t.user_attrs[RETRY_OF]: t.params for t in finished(trials) if RETRY_OF in t.user_attrs}
    assert again == {t.number: t.params for t in broken_off}


def test_an_error_of_a_worker_is_the_parents(tmp_path: Path) -> None:
    new_study(tmp_path)
    with pytest.raises(InputError, match="there is no such sampler"):
        run_trials(NAME, Quadratic(), Refusing(InputError), url=None, folder=tmp_path, total=3, jobs=2)


def test_a_worker_that_ends_by_itself_is_not_started_again_and_again(tmp_path: Path) -> None:
    new_study(tmp_path)
    with pytest.raises(TrainingError, match="ended with code 1"):
        run_trials(NAME, Quadratic(), Refusing(RuntimeError), url=None, folder=tmp_path, total=3, jobs=2)
