"""The command `matcard.tune`: interrupted, begun together, misused, in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pandas as pd
import pytest
import yaml
from tune_cases import ROWS, play, run

from matcard import tune as command
from matcard.cli import run_command
from matcard.errors import InputError
from matcard.files import read_json
from matcard.study import objective
from matcard.study.objective import load_scores
from matcard.study.settings import StudyOptions
from matcard.study.tuning import tune
from matcard.training.config import flatten, parse_config, read_config
from matcard.work import pool


def slowly(number, config, data, folder, line, **options):
    """Play, but stay in the trial of a number until a signal comes."""
    if folder.parent.name == f"{number:04d}":
        (folder.parent.parent.parent / "waits").touch()
        time.sleep(60)
    return play(config, data, folder, line, **options)


def run_in(log, argv):
    """Run the command as a program does, its output in a file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("w") as file:
        sys.stdout = sys.stderr = file
        run_command(command.main, [*ROWS, "--space=space.yaml", *argv])


def fork(log, *argv):
    """Start the command in a process of its own, which plays as this one does."""
    process = multiprocessing.get_context("fork").Process(target=run_in, args=(log, argv))
    process.start()
    return process


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_ctrl_c_ends_the_command_cleanly_and_says_how_to_go_on(here, played, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(objective, "trained", partial(slowly, 2))
        process = fork(here / "log", "--study=deep/a", "--trials=5")
        try:
            until = time.monotonic() + 60
            while not (here / "deep/a/waits").exists():
                assert time.monotonic() < until
                assert process.is_alive(), (here / "log").read_text()
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGINT)
            process.join(60)
        finally:
            process.kill()
    said = (here / "log").read_text()
    assert process.exitcode == 130, said
    assert "interrupted: 2 of 5 trials are finished and kept" in said
    assert said.rstrip().endswith("go on with --study deep/a")
    assert "Traceback" not in said
    assert (here / "deep/a/best.yaml").is_file()
    assert pd.read_parquet("deep/a/trials.parquet")["state"].tolist() == ["complete", "complete"]
    command.main(["--study=deep/a"])
    states = pd.read_parquet("deep/a/trials.parquet")["state"]
    assert states.tolist() == ["complete"] * 5


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--trails", "3"], ["--trails", "trials"]),
        (["--trials", "0"], ["--trials", "1 or more"]),
        (["--space", "scale"], ["--space scale", "scale_lambda"]),
        (["--trial_config", "shrt"], ["--trial_config shrt", "short"]),
        (["--metric", "f1"], ["f1", "macro_f1"]),
        (["--metric", "mcc,mcc"], ["different metrics"]),
        (["--metric", "mcc,ece", "--pruner", "median"], ["Pareto", "--pruner median"]),
        (["--metric", "mcc,ece", "--sampler", "cmaes"], ["cmaes", "one"]),
        (["--pruner", "wilcoxon"], ["--folds or --seeds 5"]),
        (["--folds", "3", "--seeds", "2"], ["one or the other"]),
        (["--folds", "1"], ["--folds is 1", "2 or more"]),
        (["--timeout", "0"], ["--timeout is 0", "above 0"]),
        (["--sampler", "bayes"], ["sampler", "tpe"]),
        (["--trainer.devices", "2", "--space", "space.yaml"], ["--trainer.devices", "--jobs"]),
        (["--sampler", "cmaes", "--space", "scale_lambda", "--loss.name", "reweight"], ["cmaes", "tpe"]),
        (["--space", "scale.yaml"], ["loss.scale", "cross_entropy"]),
        (["--jobs", "2", "--scheduler", "tcp://here:1"], ["--jobs", "--scheduler"]),
        (["--space", "space.yaml", "--data.target", "sort"], ["sort", "--data.target", "kind"]),
        (["--space", "split.yaml"], ["data.split.fold", "would not compare"]),
        (["--space", "seed.yaml"], ["seed", "would not compare"]),
        (["--space", "space.yaml", "--study", ""], ["--study ''", "a name"]),
        (["--space", "space.yaml", "--study", "rows.csv/a"], ["--study rows.csv/a", "cannot be made"]),
    ],
)
def test_bad_usage_is_refused_before_anything_is_made(here, argv, words):
    (here / "scale.yaml").write_text("loss.scale: {type: float, low: 1, high: 3}\n")
    (here / "split.yaml").write_text("data.split.fold: {type: int, low: 0, high: 4}\n")
    (here / "seed.yaml").write_text("lucky:\n  choices:\n    a: {seed: 7}\n    b: {seed: 8}\n")
    with pytest.raises(InputError) as error:
        command.main([*ROWS, "--study=bad", *argv])
    for word in words:
        assert word in str(error.value)
    assert not (here / "runs/studies/bad/study.yaml").exists()


def test_samplers_that_the_data_refuse_are_told_before_the_first_trial(here):
    words = [word for word in ROWS if not word.startswith("--report")]
    with pytest.raises(InputError, match="sampler 'formula' needs the formula of each sample"):
        command.main([*words, "--space=sampler", "--study=drawn", "--trials=2"])
    assert not (here / "runs/studies/drawn/trials.parquet").exists()


def test_options_of_the_command_line_stand_above_the_training_of_a_trial():
    plain = command.parse_settings(["--space=reweight"])
    assert (plain.config["trainer"]["max_epochs"], plain.trial["trainer"]["max_epochs"]) == (24, 8)
    given = command.parse_settings(["--trainer.max_epochs=3", "--space=error", "--loss.invariant=magnitude"])
    assert given.trial["trainer"]["max_epochs"] == given.config["trainer"]["max_epochs"] == 3
    assert given.config["loss"]["combine"] == "add", "the options that go with the space"
    assert given.config["loss"]["invariant"] == "magnitude"
    full = command.parse_settings(["--trial_config=full"])
    assert full.trial == full.config


def test_the_function_takes_a_space_as_a_mapping(here, played, capsys):
    config = parse_config([*ROWS], prog="", description="")
    folder = tune(
        config,
        StudyOptions(study="api", trials=2, trial_config="full"),
        space={"optimizer.lr": {"type": "float", "low": 0.01, "high": 0.03}},
    )
    assert folder.path.name == "api"
    assert read_config(folder.settings)["space"] == {"optimizer.lr": {"type": "float", "low": 0.01, "high": 0.03}}
    assert "Traceback" not in capsys.readouterr().out


def test_jobs_take_the_place_of_a_scheduler_and_a_scheduler_that_of_jobs(here, played):
    run("--study=a", "--trials=1", "--jobs=2", "--trainer.max_epochs=1")
    options = command.parse_settings(["--study=a"]).options
    assert (options.jobs, options.scheduler) == (2, None), "as it began"
    settings = command.parse_settings(["--study=a", "--scheduler=tcp://here:1"])
    assert (settings.options.jobs, settings.options.scheduler) == (1, "tcp://here:1")
    settings.write(here / "runs/studies/a/study.yaml")
    for argv, jobs in ((["--jobs", "1"], 1), (["--jobs=3"], 3)):
        options = command.parse_settings(["--study=a", *argv]).options
        assert (options.jobs, options.scheduler) == (jobs, None)
    assert command.parse_settings(["--study=a"]).options.scheduler == "tcp://here:1"


def test_an_interruption_after_the_trials_says_how_to_go_on(here, played, monkeypatch):
    """While the defaults are trained for the comparison."""
    (here / "space.yaml").write_text("optimizer.lr: {type: float, low: 3e-2, high: 5e-2}\n")

    def interrupted(config, *rest, **options):
        if config.optimizer.lr == 0.02:
            raise KeyboardInterrupt
        return play(config, *rest, **options)

    monkeypatch.setattr(objective, "trained", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"2 of 2 trials are finished and kept.*go on with --study a"):
        run("--study=a", "--trials=2")


def test_a_password_is_not_kept(here):
    settings = command.parse_settings(["--study=a", "--storage=postgresql://me:secret@host/studies"])
    settings.write(here / "study.yaml")
    assert "secret" not in (here / "study.yaml").read_text()
    assert yaml.safe_load((here / "study.yaml").read_text())["options"]["storage"].endswith("://me:***@host/studies")


def test_help_is_quick_to_load_and_names_the_options():
    code = "import sys, matcard.tune; print(sorted({'torch_geometric', 'optuna', 'lightning'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
    with pytest.raises(SystemExit):
        command.main(["--help"])


def test_several_processes_train_one_study(here, capsys):
    """The defaults lie outside the space: they are trained once, after the trials, in a folder of their own."""
    command.main([*ROWS, "--space=rivals", "--study=jobs", "--trials=3", "--jobs=2"])
    study = here / "runs/studies/jobs"
    table = pd.read_parquet(study / "trials.parquet")
    done = table[table["state"] == "complete"]
    assert len(done) == 3
    assert not table["defaults"].any()
    for number, value in zip(done["number"], done["macro_f1"], strict=True):
        (scores,) = load_scores(study / "trials" / f"{number:04d}", 1)
        assert scores.metrics()["macro_f1"] == pytest.approx(value), "of its own weights"
    for _, trial in done.iterrows():
        config = flatten(read_config(study / "trials" / f"{trial['number']:04d}" / "config.yaml"))
        chosen = trial[[name for name in done if "." in name]].dropna().to_dict()
        assert {name: config[name] for name in chosen} == pytest.approx(chosen), "its own options in its own folder"
    assert read_config(study / "defaults/config.yaml")["loss"]["name"] == "cross_entropy"
    (scores,) = load_scores(study / "defaults", 1)
    defaults = read_json(study / "best_vs_defaults.json")["metrics"]["macro_f1"]["defaults"]
    assert scores.metrics()["macro_f1"] == pytest.approx(defaults)
    assert not (study / "running").exists()
    shown = capsys.readouterr().out
    assert shown.count("trained for the comparison") == 1
    assert "best configuration" in shown


def test_several_processes_retrain_when_all_have_ended_their_search(here):
    """A worker that is free when the time is up waits for those that are still at a trial."""
    run("--study=a", "--trials=50", "--timeout=3", "--retrain=2", "--jobs=2", "--trainer.max_epochs=1")
    study = here / "runs/studies/a"
    trials, retrained = (
        [read_json(path) for path in study.glob(pattern)]
        for pattern in ("trials/*/record.json", "retrained/*/*/record.json")
    )
    assert len(retrained) in (2, 4), "twice the best, and the defaults unless they are the best"
    assert max(one["began"] + one["seconds"] for one in trials) <= min(one["began"] for one in retrained)
    assert not (study / "running").exists()


def test_a_finished_study_starts_no_workers(here, played, monkeypatch, capsys):
    run("--study=a", "--trials=2")
    monkeypatch.setattr(pool, "cluster_of", lambda *_: pytest.fail("workers"))
    run("--study=a", "--trials=2", "--jobs=2")
    assert "2 trials are finished" in capsys.readouterr().out
