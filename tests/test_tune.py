"""`matcard.tune` as it is used: a study of quick networks on rows, continued, refused, retrained."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
import yaml
from optuna.trial import TrialState
from scipy.special import softmax

from matcard import tune as command
from matcard.cli import make_console, run_command
from matcard.errors import InputError, MatcardWarning, TrainingError
from matcard.files import read_yaml
from matcard.losses.options import CardinalityOptions
from matcard.training import StudyOptions, tune
from matcard.training.config import config_from_dict, config_to_dict, parse_config, read_config
from matcard.training.study import retrain, tuning
from matcard.training.study.results.comparison import differing_options
from matcard.training.study.results.files import write_figures
from matcard.training.study.results.gain import Estimate, bootstrap, paired_bootstrap
from matcard.training.study.screen import Screen
from matcard.training.study.storage.opening import open_storage
from matcard.training.study.trial import evaluation, objective
from matcard.training.study.trial.evaluation import SCORES, PartScores, load_scores, trained
from matcard.training.study.trial.failures import TrialError

ROWS = (
    "--data.source=rows.csv",
    "--data.target=kind",
    "--model.name=mlp",
    "--model.hidden=16",
    "--trainer.batch_size=16",
    "--trainer.max_epochs=3",
    "--optimizer.lr=0.02",
    "--loss.name=cross_entropy",
    "--report=false",
)
SMOOTHING = (
    "loss.label_smoothing: {type: float, low: 0, high: 0.2}\noptimizer.lr: {type: float, low: 5e-3, high: 5e-2}\n"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few resamples, and figures only in the tests that look at them."""
    monkeypatch.setattr(tuning, "paired_bootstrap", partial(paired_bootstrap, resamples=3))
    monkeypatch.setattr(retrain, "bootstrap", partial(bootstrap, resamples=3))
    monkeypatch.setattr(tuning, "write_figures", lambda *_: None)


@pytest.fixture
def figures(monkeypatch):
    """Figures are drawn, and intervals hold their value."""
    monkeypatch.setattr(tuning, "write_figures", write_figures)
    monkeypatch.setattr(tuning, "paired_bootstrap", partial(paired_bootstrap, resamples=20))


def play(config, data, folder, *, keep_weights, callbacks=()):
    """In place of a training: the nearer the learning rate is to .01, the better are the scores, epoch by epoch."""
    if config.optimizer.lr > 1:
        raise TrialError("the loss is not finite")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    part, targets = data.parts["val"], data.codes[data.parts["val"]]
    noise = np.random.default_rng(config.seed).normal(size=(len(part), data.num_classes))
    skill = 3 - abs(math.log(config.optimizer.lr / 0.01)) - 5 * config.loss.label_smoothing
    for epoch in range(epochs := config.trainer.max_epochs):
        logits = noise + skill * (epoch + 1) / epochs * np.eye(data.num_classes)[targets]
        ids, names = data.labelled.ids[part].astype(str), np.array(data.class_names)
        scores = PartScores(ids, targets, softmax(logits, axis=1), data.class_counts, names)
        metrics = {
            f"val_{name}": torch.tensor(value) for name, value in (scores.metrics() if callbacks else {}).items()
        }
        for callback in callbacks:
            callback.on_train_epoch_end(SimpleNamespace(callback_metrics=metrics, current_epoch=epoch), None)
    scores.save(folder / SCORES)
    return scores


@pytest.fixture
def played(monkeypatch):
    """Trials play at training."""
    monkeypatch.setattr(objective, "trained", play)


@pytest.fixture
def here(tmp_path, monkeypatch, tmp_path_factory):
    """An empty folder with a space in it, as the current one."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SMOOTHING)
    rng = np.random.default_rng(0)
    kinds = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    rows = rng.normal(size=(400, 2)) + np.array([[0, 0], [3, 0], [0, 3]])[kinds]
    table = pd.DataFrame({"x": rows[:, 0], "y": rows[:, 1], "kind": np.array(["plain", "odd", "rare"])[kinds]})
    table.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


def run(*argv):
    """Run the command on rows and give the study's table."""
    command.main([*ROWS, "--space=space.yaml", *argv])
    name = next(word.removeprefix("--study=") for word in argv if word.startswith("--study="))
    return pd.read_parquet(f"runs/studies/{name}/trials.parquet")


def trials_of(folder):
    """Read the trials of a study from its journal."""
    return optuna.load_study(study_name=folder.name, storage=open_storage(None, folder)).get_trials()


def test_a_study_leaves_what_it_found(here, figures, capsys):
    table = run("--study=a", "--trials=4", "--trainer.max_epochs=2", "--report=true")
    study = here / "runs/studies/a"
    assert table["number"].tolist() == list(range(4))
    assert (table["state"] == "complete").all()
    assert table["defaults"].tolist() == [True] + 3 * [False], "the defaults are the first trial"
    assert table.loc[0, "loss.label_smoothing"] == 0
    assert table.loc[0, "optimizer.lr"] == 0.02
    best = table.loc[table["macro_f1"].idxmax()]

    # best.yaml is complete: train takes it, and it holds what the best trial chose.
    config = parse_config(["--config", str(study / "best.yaml")], prog="", description="")
    assert config == config_from_dict(read_config(study / "best.yaml"))
    assert config.loss.label_smoothing == best["loss.label_smoothing"]
    assert config.optimizer.lr == best["optimizer.lr"]
    assert config.data.target == "kind"

    # The value of a trial is the metric of its best epoch, and that of its probabilities.
    folder = study / "trials" / f"{best['number']:04d}"
    epochs = pd.read_csv(folder / "metrics.csv")
    assert best["macro_f1"] == pytest.approx(epochs["val_macro_f1"].max())
    (scores,) = load_scores(folder, 1)
    assert scores.metrics()["macro_f1"] == pytest.approx(best["macro_f1"])
    assert best["val_log_loss"] == pytest.approx(scores.metrics()["log_loss"])
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "metrics.csv", "validation.npz"}, "light"

    for name in ("history", "slices", "importances", "intermediate"):
        assert (study / "figures" / f"{name}.png").stat().st_size > 5000
        assert len(pd.read_csv(study / "figures" / f"{name}.csv"))
    assert len(pd.read_csv(study / "figures/intermediate.csv")) == 4 * 2

    beside = json.loads((study / "best_vs_defaults.json").read_text())
    gain = beside["metrics"]["macro_f1"]["gain"]
    assert gain["value"] == pytest.approx(best["macro_f1"] - table.loc[0, "macro_f1"])
    assert gain["low"] <= gain["value"] <= gain["high"]
    shown = capsys.readouterr().out
    for words in ("study: runs/studies/a", "3 of 4 trials", "best so far", "beside the defaults", "95 % interval"):
        assert words in shown
    assert f"--config {study.relative_to(here)}/best.yaml" in shown
    assert f"report: {study.relative_to(here)}/report.html" in shown
    assert "label_smoothing" in (study / "report.html").read_text()


def test_a_report_that_fails_fails_no_study(here, played, monkeypatch):
    def fail(path):
        raise RuntimeError("no room")

    monkeypatch.setattr("matcard.report.write_study_report", fail)
    with pytest.warns(
        MatcardWarning, match=r"no report was written \(no room\).*python -m matcard.report runs/studies/a"
    ):
        table = run("--study=a", "--trials=2", "--report=true")
    assert len(table) == 2


def test_a_seeded_study_of_one_worker_repeats_and_a_resumed_one_draws_anew(here, played):
    whole = run("--study=whole", "--trials=3", "--sampler=random", "--seed=3")
    again = run("--study=again", "--trials=3", "--sampler=random", "--seed=3")
    compared = ["macro_f1", "loss.label_smoothing", "optimizer.lr"]
    assert whole[compared].equals(again[compared])
    run("--study=parts", "--trials=2", "--sampler=random", "--seed=3")
    command.main(["--study=parts", "--trials=4"])
    parts = pd.read_parquet("runs/studies/parts/trials.parquet")
    assert parts[compared].iloc[:2].equals(whole[compared].iloc[:2])
    assert parts["optimizer.lr"].nunique() == 4
    other = run("--study=other", "--trials=2", "--sampler=random", "--seed=4")
    assert set(other["optimizer.lr"]) & set(whole["optimizer.lr"]) == {0.02}, "the defaults alone"


def test_a_study_is_continued_by_its_name_and_refuses_what_differs(here, played):
    run("--study=a", "--trials=2")
    command.main(["--study=a", "--trials=3"])
    assert len(run("--study=a", "--trials=4")) == 4, "the whole command again"
    for words, argv in (
        (["--optimizer.lr was 0.02, is 0.03"], ["--optimizer.lr=0.03"]),
        (["--metric was None, is ['mcc']"], ["--metric=mcc"]),
        (["--seeds was 1, is 2", "name another"], ["--seeds=2"]),
    ):
        with pytest.raises(InputError) as error:
            command.main(["--study=a", *argv])
        assert all(word in str(error.value) for word in words)
    (here / "space.yaml").write_text(SMOOTHING.replace("0.2", "0.3"))
    with pytest.raises(InputError, match=r"space, loss\.label_smoothing was .*0\.2.*is .*0\.3"):
        command.main(["--study=a", "--space=space.yaml"])
    command.main(["--study=a", "--sampler=qmc", "--trials=4"])


def test_weights_are_kept_on_request(here):
    run("--study=one", "--trials=1", "--keep=full")
    assert (here / "runs/studies/one/trials/0000/checkpoints/best.ckpt").is_file()


def test_folds_give_the_mean_and_hold_the_test_part_out(here, played):
    table = run("--study=folds", "--trials=1", "--folds=3", "--trainer.max_epochs=1")
    study = here / "runs/studies/folds"
    folds = load_scores(study / "trials/0000", 3)
    assert table.loc[0, "macro_f1"] == pytest.approx(np.mean([fold.metrics()["macro_f1"] for fold in folds]))
    ids = [set(fold.ids) for fold in folds]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(ids, 2))
    sizes = sum(len(one) for one in ids)
    assert sizes == pytest.approx(0.85 * 400, abs=12), "all but the test part"


def test_retraining_tests_the_best_alone_on_samples_that_no_trial_saw(here, played, capsys):
    run("--study=a", "--trials=3", "--seeds=2", "--retrain=2", "--trainer.max_epochs=1", "--report=true")
    study = here / "runs/studies/a"
    assert "Mean over 2 seeds at full length" in (study / "report.html").read_text(), "written anew after it"
    (runs,) = (study / "retrained").iterdir()
    seen = {name for path in (study / "trials").rglob("validation.npz") for name in PartScores.load(path).ids}
    tested = [PartScores.load(path) for path in sorted(runs.rglob("test.npz"))]
    assert [path.parent.name for path in sorted(runs.rglob("test.npz"))] == ["best-0", "best-1"]
    assert tested[0].ids.tolist() == tested[1].ids.tolist()
    assert not seen & set(tested[0].ids)
    validated = [PartScores.load(runs / name / "validation.npz") for name in ("best-0", "best-1")]
    assert set(validated[0].ids) != set(validated[1].ids), "a seed divides training and validation anew"
    summary = json.loads((runs / "summary.json").read_text())
    f1 = [scores.metrics()["macro_f1"] for scores in tested]
    assert summary["test"]["macro_f1"]["value"] == pytest.approx(np.mean(f1))
    assert summary["test"]["macro_f1"]["seeds"] == pytest.approx(f1)
    shown = capsys.readouterr().out
    assert "The best, on test: mean over 2 seeds" in shown
    assert "validation macro-F1: " in shown
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("test.npz")}
    command.main(["--study=a"])
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("test.npz")}, "finished runs are kept"


def test_a_run_that_could_not_be_trained_is_left_out_and_tried_again(here, played, capsys, monkeypatch):
    """Neither another run in its place nor a crash."""
    train = retrain.Retraining.train

    def fails(self, config, index, folder, *, tested):
        if folder.name == "best-1":
            (folder / "checkpoints").mkdir(parents=True)  # what a killed worker leaves before the configuration
            raise OSError("no space left on device")
        train(self, config, index, folder, tested=tested)

    with monkeypatch.context() as patch:
        patch.setattr(retrain.Retraining, "train", fails)
        run("--study=a", "--trials=3", "--retrain=2", "--trainer.max_epochs=1")
    shown = capsys.readouterr().out
    assert "best, seed 1: OSError: no space left on device" in shown
    assert shown.count("best, seed 0: trained") == 1
    assert "1 of 2 seeds are left out" in shown
    assert "mean over 1 seeds" in shown
    (runs,) = (here / "runs/studies/a/retrained").iterdir()
    before = (runs / "best-0/test.npz").stat().st_mtime_ns
    command.main(["--study=a"])
    shown = capsys.readouterr().out
    assert "best, seed 1: trained" in shown
    assert "best, seed 0: trained" not in shown
    assert "mean over 2 seeds" in shown
    assert (runs / "best-0/test.npz").stat().st_mtime_ns == before


def test_another_best_that_is_tested_is_warned_of(here, played):
    (here / "space.yaml").write_text("optimizer.lr: {type: float, low: 0.02, high: 0.05}\n")
    run("--study=a", "--trials=1", "--retrain=1", "--trainer.max_epochs=1")
    (here / "runs/studies/a/retrained/other").mkdir()
    (here / "runs/studies/a/retrained/other/summary.json").write_text("{}")
    with pytest.warns(MatcardWarning, match="another best of this study was tested before"):
        command.main(["--study=a"])


def test_workers_that_retrain_together_share_the_runs(here):
    """Each of several processes that end a study at the same time puts in line only what is in nobody's."""
    config = config_to_dict(parse_config(ROWS, prog="", description=""))
    job = retrain.Retraining({"best": config, "defaults": config}, None, here / "retrained", seeds=2)
    study = optuna.create_study(storage=open_storage(None, here))
    assert [retrain.put_in_line(study, job) for _ in range(3)] == [4, 4, 4]
    runs = [tuple(trial.user_attrs[retrain.RUN]) for trial in study.get_trials()]
    assert runs == [("best", 0), ("defaults", 0), ("best", 1), ("defaults", 1)]
    study.tell(study.ask(), 1)
    job.run("best", 0).mkdir(parents=True)
    for name in (SCORES, retrain.TEST):
        (job.run("best", 0) / name).touch()
    assert retrain.put_in_line(study, job) == 4, "one is trained and three are in line"
    study.tell(study.ask(), 0)
    assert retrain.put_in_line(study, job) == 5, "what could not be trained is tried once more"


def test_a_study_goes_on_under_a_version_with_more_options(here, played):
    run("--study=a", "--trials=2")
    path = here / "runs/studies/a/study.yaml"
    settings = read_yaml(path)
    del settings["config"]["loss"]["label_smoothing"], settings["config"]["trainer"]["gradient_clip"]
    path.write_text(yaml.safe_dump(settings))
    study = optuna.load_study(study_name="a", storage=open_storage(None, path.parent))
    trial, *others = json.loads(study.user_attrs["settings"])
    del trial["trainer"]["gradient_clip"]
    study.set_user_attr("settings", json.dumps([trial, *others]))
    assert len(run("--study=a", "--trials=3")) == 3


def test_options_that_play_no_part_are_not_compared():
    config = parse_config(ROWS, prog="", description="")
    losses = (("class-embedding", "reweight", 1.0), ("error", "add", 0.3))
    reweight, add = (
        dataclasses.replace(
            config, loss=CardinalityOptions(name="spread", space=space, combine=combine, lambda_invariant=weight)
        )
        for space, combine, weight in losses
    )
    differing = {option: values for option, *values in differing_options(reweight, add)}
    assert differing["loss.lambda_invariant"] == [None, 0.3]
    assert set(differing) == {"loss.space", "loss.combine", "loss.lambda_invariant"}, (
        "nothing that both have by default"
    )
    other = dataclasses.replace(reweight, loss=dataclasses.replace(reweight.loss, lambda_invariant=0.2))
    assert differing_options(reweight, other) == [], "neither reads it"


def test_several_metrics_give_a_front(here, figures, played):
    table = run("--study=two", "--trials=6", "--metric=log_loss,minority_recall")
    study = here / "runs/studies/two"
    front = pd.read_csv(study / "figures/pareto.csv")
    losses = table[["log_loss", "minority_recall"]].to_numpy() * [1, -1]
    for row, loss in zip(front["front"], losses, strict=True):
        beaten = any((other <= loss).all() and (other < loss).any() for other in losses)
        assert row == (not beaten)
    files = sorted(path.name for path in study.glob("best-*.yaml"))
    assert len(files) == front["front"].sum()
    assert (study / "best.yaml").read_text() == (study / "best-1.yaml").read_text()
    assert (study / "figures/pareto.png").is_file()
    assert not (study / "figures/intermediate.png").exists()


def test_defaults_outside_the_space_are_trained_for_the_comparison(here, played, capsys):
    (here / "space.yaml").write_text("optimizer.lr: {type: float, low: 3e-2, high: 5e-2}\n")
    table = run("--study=a", "--trials=2")
    assert not table["defaults"].any()
    assert "outside the space" in capsys.readouterr().out
    beside = json.loads((here / "runs/studies/a/best_vs_defaults.json").read_text())
    assert beside["options"]["optimizer.lr"]["defaults"] == 0.02
    (scores,) = load_scores(here / "runs/studies/a/defaults", 1)
    assert beside["metrics"]["macro_f1"]["defaults"] == pytest.approx(scores.metrics()["macro_f1"])


def test_a_grid_tries_each_point_once(here, played, capsys):
    (here / "space.yaml").write_text("optimizer.lr: {choices: [0.02, 0.01]}\nmodel.hidden: {choices: [8, 16]}\n")
    table = run("--study=grid", "--trials=9", "--sampler=grid")
    assert sorted(zip(table["optimizer.lr"], table["model.hidden"], strict=True)) == [
        (0.01, 8),
        (0.01, 16),
        (0.02, 8),
        (0.02, 16),
    ]
    assert table["defaults"].sum() == 1
    assert "4 points" in capsys.readouterr().out


def test_failing_trials_are_recorded_and_all_failing_ends_the_study(here, played):
    (here / "space.yaml").write_text("optimizer.lr: {type: float, low: 1e+30, high: 1e+35, log: true}\n")
    with pytest.raises(TrainingError, match="too many trials fail") as error:
        run("--study=nan", "--trials=20", "--report=true")
    assert "trials.parquet" in str(error.value)
    assert "No trial has finished." in Path("runs/studies/nan/report.html").read_text()
    table = pd.read_parquet("runs/studies/nan/trials.parquet")
    assert (table["state"] == "fail").all()
    assert (table["failure"] == "the loss is not finite").all()
    assert len(table) == 10


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_hopeless_trials_are_pruned_by_epochs(here, played, pruner):
    run(f"--study={pruner}", "--trials=14", f"--pruner={pruner}", "--sampler=random", "--trainer.max_epochs=4")
    trials = trials_of(here / "runs/studies" / pruner)
    states = Counter(trial.state for trial in trials)
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(list(t.intermediate_values) == [0, 1, 2, 3] for t in trials if t.state == TrialState.COMPLETE)
    assert all(len(t.intermediate_values) < 4 for t in trials if t.state == TrialState.PRUNED)


def test_hopeless_trials_are_pruned_by_folds(here, played):
    table = run("--study=wilcoxon", "--trials=8", "--pruner=wilcoxon", "--folds=6", "--sampler=random")
    trials = trials_of(here / "runs/studies/wilcoxon")
    assert list(trials[0].intermediate_values) == list(range(6)), "one report a fold"
    assert "pruned" in set(table["state"])


def test_cma_es_moves_the_numbers_that_every_trial_has(here, played):
    pytest.importorskip("cmaes", reason="cmaes is not installed")
    (here / "space.yaml").write_text(SMOOTHING + "model.hidden: {choices: [8, 16]}\n")
    with pytest.warns(MatcardWarning, match=r"at random: model\.hidden"):
        table = run("--study=cmaes", "--trials=12", "--sampler=cmaes")
    moved = [any(name.startswith("cma:") for name in t.system_attrs) for t in trials_of(here / "runs/studies/cmaes")]
    assert moved == 8 * [False] + 4 * [True], "the first are drawn at random"
    assert table["optimizer.lr"].between(5e-3, 5e-2).all()
    assert table["optimizer.lr"].nunique() == 12


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory: search smaller --trainer.batch"),
        (MemoryError(), "out of memory: search smaller --trainer.batch"),
        (RuntimeError("shapes do not match"), "RuntimeError: shapes do not match"),
        (TrainingError("epoch 0: the loss is nan"), "epoch 0: the loss is nan"),
    ],
)
def test_why_a_training_failed_stands_in_the_table(here, monkeypatch, error, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(evaluation, "fit", fail)
    with pytest.raises(TrainingError, match="too many trials fail"):
        run("--study=a", "--trials=3")
    table = pd.read_parquet("runs/studies/a/trials.parquet")
    assert table["failure"].str.startswith(reason).tolist() == 10 * [True]


def test_a_training_that_puts_all_in_one_class_is_no_success(here, monkeypatch):
    scores = PartScores(
        np.array(["a", "b"]), np.array([0, 1]), np.array([[0.6, 0.4]] * 2), np.array([1, 1]), np.array([])
    )
    monkeypatch.setattr(evaluation, "fit", lambda *_: object())
    monkeypatch.setattr(PartScores, "of", lambda *_: scores)
    config = parse_config([*ROWS], prog="", description="")
    with pytest.raises(TrialError, match="collapsed: the best epoch predicts 'plain' for every sample"):
        trained(config, SimpleNamespace(class_names=("plain", "odd")), here / "run", keep_weights=False)
    assert not (here / "run" / SCORES).exists()


def slowly(number, config, data, folder, **options):
    """Play, but stay in the trial of a number until a signal comes."""
    if folder.name == f"{number:04d}":
        (folder.parent.parent / "waits").touch()
        time.sleep(60)
    return play(config, data, folder, **options)


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
    assert pd.read_parquet("deep/a/trials.parquet")["state"].tolist() == ["complete", "complete", "fail"]
    command.main(["--study=deep/a"])
    states = pd.read_parquet("deep/a/trials.parquet")["state"]
    assert states.tolist() == ["complete", "complete", "fail", "complete", "complete", "complete"]


@pytest.mark.skipif(os.name != "posix", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_commands_that_begin_a_study_together_make_one(here, played):
    """As the tasks of a job array do."""
    processes = [fork(here / f"log-{k}", "--study=array", "--trials=9") for k in range(3)]
    for process in processes:
        process.join(100)
        process.kill()
    logs = [(here / f"log-{k}").read_text() for k in range(3)]
    assert [process.exitcode for process in processes] == [0, 0, 0], logs
    trials = trials_of(here / "runs/studies/array")
    assert [trial.state for trial in trials] == 9 * [TrialState.COMPLETE]
    assert len({trial.params["optimizer.lr"] for trial in trials}) == 9
    assert sum("defaults" in trial.user_attrs for trial in trials) == 1
    assert all("9 trials are finished" in log for log in logs)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Estimate(-0.01, -0.03, 0.01), "the defaults are ahead"),
        (Estimate(0.01, -0.01, 0.03), "a difference is not shown"),
        (Estimate(0.0, 0.0, 0.0), "a difference is not shown"),
        (Estimate(0.01, math.nan, math.nan), "a difference is not shown"),
        (Estimate(0.02, 0.01, 0.03), "more than the seeds' scatter"),
    ],
)
def test_the_verdict_over_seeds_is_honest(gain, words):
    assert words in retrain.verdict("macro_f1", gain)
    opposite = Estimate(-gain.value, -gain.high, -gain.low)
    assert words in retrain.verdict("log_loss", opposite), "there lower is better"


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
        (["--folds", "1"], ["2 or more"]),
        (["--timeout", "0"], ["above 0"]),
        (["--sampler", "bayes"], ["sampler", "tpe"]),
        (["--trainer.devices", "2", "--space", "space.yaml"], ["--trainer.devices", "--jobs"]),
        (["--sampler", "cmaes", "--space", "scale_lambda", "--loss.name", "spread"], ["cmaes", "tpe"]),
        (["--space", "scale.yaml"], ["loss.scale", "cross_entropy"]),
        (["--grace", "1"], ["--grace", "2 or more"]),
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


def test_options_of_the_command_line_stand_above_the_training_of_a_trial():
    plain = command.parse_settings(["--space=reweight"])
    assert (plain.config["trainer"]["max_epochs"], plain.trial["trainer"]["max_epochs"]) == (24, 8)
    given = command.parse_settings(["--trainer.max_epochs=3", "--space=error", "--loss.name=magnitude"])
    assert given.trial["trainer"]["max_epochs"] == given.config["trainer"]["max_epochs"] == 3
    assert given.config["loss"]["combine"] == "add", "the options that go with the space"
    assert given.config["loss"]["name"] == "magnitude"
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


def test_a_password_is_not_kept(here):
    settings = command.parse_settings(["--study=a", "--storage=postgresql://me:secret@host/studies"])
    settings.write(here / "study.yaml")
    assert "secret" not in (here / "study.yaml").read_text()
    assert yaml.safe_load((here / "study.yaml").read_text())["options"]["storage"].endswith("://me:***@host/studies")


def test_help_is_quick_to_load_and_names_the_options():
    code = "import sys, matcard.tune; print(sorted({'torch', 'pandas', 'optuna', 'lightning'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
    with pytest.raises(SystemExit):
        command.main(["--help"])


def test_what_several_workers_are_given_travels_to_them(here, played, monkeypatch):
    """The workers themselves are tested with their crew; here is what a real study hands them."""
    given = {}

    def run_trials(name, objective, make_sampler, **options):
        given.update(options, objective=objective, make_sampler=make_sampler)
        raise InputError("that is all")

    monkeypatch.setattr(tuning, "run_trials", run_trials)
    with pytest.raises(InputError, match="that is all"):
        run("--study=jobs", "--trials=3", "--jobs=2", "--grace=30", "--timeout=60")
    assert (given["jobs"], given["total"], given["timeout"]) == (2, 3, 60)
    assert (given["heartbeat"].interval, given["heartbeat"].grace) == (3, 30)
    there, make_sampler = pickle.loads(pickle.dumps((given["objective"], given["make_sampler"])))
    study = optuna.create_study(direction="maximize", sampler=make_sampler(0))
    study.optimize(there, n_trials=2)
    assert all(0 < trial.value <= 1 for trial in study.trials)
    assert study.sampler._constant_liar, "for parallel use"


def test_several_processes_train_one_study(here, capsys):
    table = run("--study=jobs", "--trials=3", "--jobs=2")
    assert Counter(table["state"]) == {"complete": 3}
    assert table["macro_f1"].between(0, 1).all()
    assert "best configuration" in capsys.readouterr().out


@pytest.mark.parametrize(("jobs", "words"), [(1, "about 60 s left"), (2, "about 30 s left"), (8, "about 20 s left")])
def test_the_time_left_counts_the_trials_that_run_side_by_side(jobs, words, capsys):
    with Screen(make_console(), [], ["macro_f1"], total=4, jobs=jobs) as screen:
        for state, value in ((TrialState.FAIL, None), (TrialState.COMPLETE, 0.5)):
            trial = optuna.trial.create_trial(state=state, value=value)
            trial.datetime_complete = trial.datetime_start + timedelta(seconds=10)
            screen(trial)
    assert words in capsys.readouterr().out
