"""`matcard.tune` as it is used: a study of quick networks on rows, continued, refused, retrained."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from matcard import tune as command
from matcard.errors import InputError, TrainingError
from matcard.training import StudyOptions, tune
from matcard.training.config import config_from_dict, parse_config, read_config
from matcard.training.study import retrain, tuning
from matcard.training.study.results.files import write_figures
from matcard.training.study.results.gain import bootstrap, paired_bootstrap
from matcard.training.study.storage.opening import open_storage
from matcard.training.study.trial.evaluation import PartScores, load_scores

ROWS = (
    "--data.source=rows.csv",
    "--data.target=kind",
    "--model.name=mlp",
    "--model.hidden=16",
    "--trainer.batch_size=16",
    "--trainer.max_epochs=3",
    "--optimizer.lr=0.02",
    "--loss.name=cross_entropy",
)
SMOOTHING = (
    "loss.label_smoothing: {type: float, low: 0, high: 0.2}\noptimizer.lr: {type: float, low: 5e-3, high: 5e-2}\n"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few resamples, and figures only in the tests that look at them."""
    monkeypatch.setattr(tuning, "paired_bootstrap", partial(paired_bootstrap, resamples=20))
    monkeypatch.setattr(retrain, "bootstrap", partial(bootstrap, resamples=20))
    monkeypatch.setattr(tuning, "write_figures", lambda *_: None)


@pytest.fixture
def figures(monkeypatch):
    """Figures are drawn."""
    monkeypatch.setattr(tuning, "write_figures", write_figures)


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


def test_a_study_leaves_what_it_found(here, figures, capsys):
    table = run("--study=a", "--trials=6")
    study = here / "runs/studies/a"
    assert table["number"].tolist() == list(range(6))
    assert (table["state"] == "complete").all()
    assert table["defaults"].tolist() == [True] + 5 * [False], "the defaults are the first trial"
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
    assert len(pd.read_csv(study / "figures/intermediate.csv")) == 6 * 3

    beside = json.loads((study / "best_vs_defaults.json").read_text())
    gain = beside["metrics"]["macro_f1"]["gain"]
    assert gain["value"] == pytest.approx(best["macro_f1"] - table.loc[0, "macro_f1"])
    assert gain["low"] <= gain["value"] <= gain["high"]
    shown = capsys.readouterr().out
    for words in ("study: runs/studies/a", "5 of 6 trials", "best so far", "beside the defaults", "95 % interval"):
        assert words in shown
    assert f"--config {study.relative_to(here)}/best.yaml" in shown


def test_a_seeded_study_of_one_worker_repeats_and_a_resumed_one_draws_anew(here):
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


def test_a_study_is_continued_by_its_name_and_refuses_what_differs(here):
    run("--study=a", "--trials=2")
    command.main(["--study=a", "--trials=3"])
    assert len(pd.read_parquet("runs/studies/a/trials.parquet")) == 3
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


def test_folds_give_the_mean_and_hold_the_test_part_out(here):
    table = run("--study=folds", "--trials=2", "--folds=3")
    study = here / "runs/studies/folds"
    folds = load_scores(study / "trials/0000", 3)
    assert table.loc[0, "macro_f1"] == pytest.approx(np.mean([fold.metrics()["macro_f1"] for fold in folds]))
    ids = [set(fold.ids) for fold in folds]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(ids, 2))
    run("--study=one", "--trials=1", "--keep=full")
    assert (here / "runs/studies/one/trials/0000/checkpoints/best.ckpt").is_file(), "full"
    sizes = sum(len(one) for one in ids)
    assert sizes == pytest.approx(0.85 * 400, abs=12), "all but the test part"


def test_retraining_tests_the_best_alone_on_samples_that_no_trial_saw(here, capsys):
    run("--study=a", "--trials=3", "--seeds=2", "--retrain=2")
    study = here / "runs/studies/a"
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
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("test.npz")}
    command.main(["--study=a"])
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("test.npz")}, "finished runs are kept"


def test_several_metrics_give_a_front(here, figures):
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


def test_defaults_outside_the_space_are_trained_for_the_comparison(here, capsys):
    (here / "space.yaml").write_text("optimizer.lr: {type: float, low: 3e-2, high: 5e-2}\n")
    table = run("--study=a", "--trials=2")
    assert not table["defaults"].any()
    assert "outside the space" in capsys.readouterr().out
    beside = json.loads((here / "runs/studies/a/best_vs_defaults.json").read_text())
    assert beside["options"]["optimizer.lr"]["defaults"] == 0.02
    epochs = pd.read_csv(here / "runs/studies/a/defaults/metrics.csv")
    assert beside["metrics"]["macro_f1"]["defaults"] == pytest.approx(epochs["val_macro_f1"].max())


def test_a_grid_tries_each_point_once(here, capsys):
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


def test_failing_trials_are_recorded_and_all_failing_ends_the_study(here):
    (here / "space.yaml").write_text("optimizer.lr: {type: float, low: 1e+30, high: 1e+35, log: true}\n")
    with pytest.raises(TrainingError, match="too many trials fail") as error:
        run("--study=nan", "--trials=20")
    assert "trials.parquet" in str(error.value)
    table = pd.read_parquet("runs/studies/nan/trials.parquet")
    assert (table["state"] == "fail").all()
    assert table["failure"].str.contains("not finite|collapsed").all()
    assert len(table) == 10


def test_pruning_by_epochs_and_by_folds(here):
    table = run("--study=median", "--trials=9", "--pruner=median", "--sampler=random", "--trainer.max_epochs=4")
    assert set(table["state"]) <= {"complete", "pruned"}
    assert (table["state"] == "complete").sum() >= 5
    storage = open_storage(None, here / "runs/studies/median")
    trials = optuna.load_study(study_name="median", storage=storage).get_trials()
    assert all(len(t.intermediate_values) == 4 for t in trials if t.state == optuna.trial.TrialState.COMPLETE)
    run("--study=wilcoxon", "--trials=1", "--pruner=wilcoxon", "--folds=5")
    storage = open_storage(None, here / "runs/studies/wilcoxon")
    trials = optuna.load_study(study_name="wilcoxon", storage=storage).get_trials()
    first = next(trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE)
    assert list(first.intermediate_values) == [0, 1, 2, 3, 4], "one report a fold"


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
        (["--space", "error"], ["loss.scale", "cross_entropy"]),
    ],
)
def test_bad_usage_is_refused_before_anything_is_made(here, argv, words):
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


def test_the_function_takes_a_space_as_a_mapping(here, capsys):
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


def test_several_workers_share_a_study(here):
    words = [
        sys.executable,
        "-m",
        "matcard.tune",
        *ROWS,
        "--space=space.yaml",
        "--study=jobs",
        "--trials=5",
        "--jobs=2",
    ]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet("runs/studies/jobs/trials.parquet")
    assert (table["state"] == "complete").sum() == 5
    assert table["optimizer.lr"].nunique() == 5
    assert "Warning" not in done.stderr
    assert "5 trials are finished" in done.stdout
