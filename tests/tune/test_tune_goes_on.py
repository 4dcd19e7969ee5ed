"""What a study goes on with, and what it refuses: other data, other directories, killed workers and coordinators."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from clusters import running_cluster, wait_for, workers_of
from optuna.samplers import TPESampler
from tune_cases import ROWS, play, run, trials_of

from matcard import tune as command
from matcard.errors import InputError
from matcard.study import objective
from matcard.study.objective import run_trial
from matcard.study.settings import StudyOptions
from matcard.training.config import config_to_dict, parse_config
from matcard.work.attempt import StoppedError, Wire, attempt, read_record
from matcard.work.trainings import SharedData

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of Unix")


def test_a_study_refuses_other_data_than_it_began_with(here, played):
    run("--study=a", "--trials=2")
    content = (here / "rows.csv").read_text()
    table = pd.read_csv(here / "rows.csv", float_precision="round_trip")
    swapped = table.assign(kind=[*table["kind"][:20][::-1], *table["kind"][20:]])
    differ = int((swapped["kind"] != table["kind"]).sum())
    swapped.to_csv(here / "rows.csv", index=False)
    with pytest.raises(
        InputError, match=rf"--study .*a began with other data \({differ} of 400 labels differ\): name another"
    ):
        command.main(["--study=a", "--trials=3"])
    table.assign(x=table["x"].where(table.index != 7, 9.0)).to_csv(here / "rows.csv", index=False)
    with pytest.raises(InputError, match=r"\(1 of 400 structures or rows differ\)"):
        command.main(["--study=a", "--trials=3"])
    table[:-1].to_csv(here / "rows.csv", index=False)
    with pytest.raises(InputError, match=r"\(1 of 400 samples are gone\)"):
        command.main(["--study=a", "--trials=3"])
    (here / "rows.csv").write_text(content)
    command.main(["--study=a", "--trials=3"])
    assert len(trials_of(here / "runs/studies/a")) == 3, "another time of writing is no other content"


def test_a_study_that_was_renamed_or_copied_goes_on_and_anothers_journal_is_refused(here, played):
    run("--study=a", "--trials=2")
    studies = here / "runs/studies"
    (studies / "a").rename(studies / "b")
    shutil.copytree(studies / "b", studies / "c")
    command.main(["--study=b", "--trials=3"])
    command.main(["--study=c", "--trials=4"])
    assert [len(trials_of(studies / name)) for name in "bc"] == [3, 4]
    run("--study=d", "--trials=1")
    before = (studies / "b/journal.log").read_bytes()
    (studies / "b/journal.log").write_bytes((studies / "d/journal.log").read_bytes())
    with pytest.raises(InputError, match=r"journal.log holds the study 'd-\w+', and the directory is that of 'a-\w+'"):
        command.main(["--study=b", "--trials=4"])
    (studies / "b/study.yaml").unlink()
    (studies / "b/journal.log").write_bytes(before)
    with pytest.raises(InputError, match=r"journal.log holds the study 'a-\w+', and the directory is that of 'b-\w+'"):
        run("--study=b", "--trials=4")
    (studies / "d/study.yaml").unlink()
    with pytest.raises(InputError, match=r"holds the study 'd-\w+', and the directory is that of 'd-\w+'"):
        run("--study=d", "--trials=4")


def test_a_study_without_its_journal_or_its_storage_is_refused_and_keeps_its_trials(here, played):
    run("--study=a", "--trials=2")
    study = here / "runs/studies/a"
    settings, record = ((study / name).read_bytes() for name in ("study.yaml", "trials/0000/record.json"))
    with pytest.raises(InputError, match=r"--storage holds no such study, .* 'a-\w+': give it its own journal or --st"):
        command.main(["--study=a", "--trials=3", "--storage=sqlite:///other.db"])
    (study / "journal.log").rename(here / "aside")
    with pytest.raises(InputError, match=r"journal.log holds no such study, and the directory is that of 'a-\w+'"):
        command.main(["--study=a", "--trials=3"])
    assert (study / "study.yaml").read_bytes() == settings
    (here / "aside").rename(study / "journal.log")
    command.main(["--study=a", "--trials=3"])
    assert len(trials_of(study)) == 3
    assert (study / "trials/0000/record.json").read_bytes() == record


def test_a_study_refuses_other_numbers_beside_the_classes(here, played):
    """Those that classes are made of, and those of rows without a class that are trained on."""
    table = pd.read_csv(here / "rows.csv", float_precision="round_trip")
    table["more"] = table["x"] + 1
    table.loc[390:, "kind"] = None
    table.to_csv(here / "rows.csv", index=False)
    learning = ["--data.features=x,y", "--data.auxiliary=more", "--data.unlabelled=learn", "--value.weight=1"]
    run("--study=a", "--trials=1", *learning)
    command.main(["--study=a", "--trials=2"])
    for row in (50, 395):
        table.assign(more=table["more"].where(table.index != row, 9.0)).to_csv(here / "rows.csv", index=False)
        with pytest.raises(InputError, match=r"\(1 of 400 numbers differ\)"):
            command.main(["--study=a", "--trials=3"])
    table[:-1].to_csv(here / "rows.csv", index=False)
    with pytest.raises(InputError, match=r"\(1 of 400 samples are gone\)"):
        command.main(["--study=a", "--trials=3"])


def test_more_trials_neither_move_where_tpe_begins_nor_throw_trials_away(here, played, monkeypatch):
    """TPE learns once so many trials have ended as when all were asked for at once."""
    guided, relative = [], TPESampler._sample_relative

    def noted(self, study, trial, space):
        found = relative(self, study, trial, space)
        if found:
            guided.append(trial.number)
        return found

    monkeypatch.setattr(TPESampler, "_sample_relative", noted)
    run("--study=whole", "--trials=10", "--trainer.max_epochs=1")
    assert guided == [8, 9]
    guided.clear()
    few = run("--study=parts", "--trials=3", "--trainer.max_epochs=1")
    records = [(here / f"runs/studies/parts/trials/{k:04d}/record.json").read_bytes() for k in range(3)]
    many = run("--study=parts", "--trials=10", "--trainer.max_epochs=1")
    assert guided == [8, 9]
    pd.testing.assert_frame_equal(many[:3], few)
    for k, record in enumerate(records):
        assert (here / f"runs/studies/parts/trials/{k:04d}/record.json").read_bytes() == record


class Stopping:
    """Asks for the end of the attempt after some epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def ask(self, message):
        self.epochs -= 1

    @property
    def stopping(self):
        return self.epochs <= 0


def test_a_stopped_trial_goes_on_from_its_last_epoch_and_ends_as_it_would_have(here):
    config = parse_config([*ROWS, "--trainer.max_epochs=4"], prog="", description="")
    job = partial(run_trial, config_to_dict(config), StudyOptions(seeds=2), ("macro_f1",), SharedData())
    attempt(job, here / "whole/1", Wire(lambda _: None), alone=False)
    with pytest.raises(StoppedError):
        job(here / "none", Stopping(2))
    for number, epochs in ((1, 2), (2, 4), (3, 99)):
        # The second is stopped in its second seed; the first seed is not trained again.
        attempt(job, here / f"parts/{number}", Stopping(epochs), alone=False)
    assert read_record(here / "parts/1") is None
    whole, parts = (read_record(folder) for folder in (here / "whole/1", here / "parts/3"))
    assert parts["metrics"] == whole["metrics"]
    for seed in "01":
        curves = [pd.read_csv(folder / seed / "metrics.csv") for folder in (here / "whole/1", here / "parts/3")]
        pd.testing.assert_frame_equal(*curves)


def test_the_defaults_outside_the_space_are_trained_once_and_the_best_after_all_trials(here, monkeypatch, capsys):
    """However many workers there are, and though the time is up before all trials are made."""
    (here / "space.yaml").write_text("optimizer.lr: {type: float, low: 3e-2, high: 5e-2}\n")
    trained = []
    monkeypatch.setattr(objective, "trained", lambda *a, **b: trained.append(a[0].optimizer.lr) or play(*a, **b))
    run("--study=a", "--trials=2")
    assert trained.count(0.02) == 1
    run("--study=a", "--trials=2")
    assert trained.count(0.02) == 1, "nor by the next command"
    monkeypatch.setattr(objective, "trained", lambda *a, **b: time.sleep(0.5) or play(*a, **b))
    run("--study=b", "--trials=50", "--timeout=1", "--retrain=1", "--trainer.max_epochs=1")
    said = capsys.readouterr().out
    assert "the time is up with" in said
    assert said.index("the time is up with") < said.index("over 1 seeds at full length")
    assert not any(trial.state.name == "RUNNING" for trial in trials_of(here / "runs/studies/b"))


def test_workers_and_coordinators_of_a_real_study_are_killed(here):
    """Under a scheduler that was started by hand; in the end each trial has been made, and none twice."""
    argv = [
        *ROWS,
        "--space=space.yaml",
        "--study=a",
        "--trials=4",
        "--trainer.max_epochs=60",
        "--scheduler=scheduler.json",
    ]
    environment = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))}

    def start():
        return subprocess.Popen([sys.executable, "-m", "matcard.tune", *argv], env=environment, cwd=here)

    def at_work():
        return [path for path in (here / "runs/studies/a/running").glob("*/*/metrics.csv") if path.is_file()]

    with running_cluster(here, workers=2):
        first = start()
        wait_for(at_work, 120)
        first.kill()
        first.wait()
        second = start()
        wait_for(lambda: (here / "runs/studies/a/trials/0000/record.json").is_file(), 120)
        with pytest.raises(InputError, match=f"is at work already: process {second.pid} on"):
            command.main(argv)
        pid = next(iter(workers_of(here)))
        os.kill(pid, signal.SIGKILL)
        assert second.wait(240) == 0
    trials = trials_of(here / "runs/studies/a")
    assert Counter(trial.state.name for trial in trials) == {"COMPLETE": 4}
    folders = sorted((here / "runs/studies/a/trials").iterdir())
    assert [len(pd.read_csv(folder / "metrics.csv")) for folder in folders] == [60] * 4
    assert (here / "runs/studies/a/best.yaml").is_file()
