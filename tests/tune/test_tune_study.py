"""`matcard.tune` as it is used: a study of quick networks on rows, continued, refused, with folds and fronts."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from tune_cases import ROWS, SMOOTHING, run

from matcard import tune as command
from matcard.errors import InputError, MatcardWarning
from matcard.losses import make_options
from matcard.study.gains import differing_options
from matcard.study.objective import load_scores
from matcard.training.config import config_from_dict, parse_config, read_config


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
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "metrics.csv", "record.json", "validation.npz"}

    for name in ("history", "slices", "importances", "intermediate"):
        assert (study / "figures" / f"{name}.svg").stat().st_size > 5000
        assert len(pd.read_csv(study / "figures" / f"{name}.csv"))
    assert len(pd.read_csv(study / "figures/intermediate.csv")) == 4 * 2

    beside = json.loads((study / "best_vs_defaults.json").read_text())
    gain = beside["metrics"]["macro_f1"]["gain"]
    assert gain["value"] == pytest.approx(best["macro_f1"] - table.loc[0, "macro_f1"])
    assert gain["low"] <= gain["value"] <= gain["high"]
    shown = capsys.readouterr().out
    for words in ("study: runs/studies/a", "3 of 4 trials", "best so far", "Defaults -> trial", "95 % interval"):
        assert words in shown
    assert re.search(r"3 of 4 trials, about 0:\d\d:\d\d left", shown)
    assert f"--config {study.relative_to(here)}/best.yaml" in shown
    assert f"report: {study.relative_to(here)}/report.html" in shown
    assert "label_smoothing" in (study / "report.html").read_text()


def test_a_report_that_fails_fails_no_study(here, played, monkeypatch):
    def fail(path):
        raise RuntimeError("no room")

    monkeypatch.setattr("matcard.report.study.write_study_report", fail)
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
    with pytest.raises(InputError, match="--sampler was none of a grid, is grid"):
        command.main(["--study=a", "--sampler=grid"])


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


def test_options_that_one_loss_has_not_are_compared_with_none():
    config = parse_config(ROWS, prog="", description="")
    reweight, add = (
        dataclasses.replace(config, loss=make_options(name, invariant="spread", **options))
        for name, options in (("reweight", {}), ("error", {"combine": "add", "lambda_invariant": 0.3}))
    )
    differing = differing_options(reweight, add)
    assert differing["loss.lambda_invariant"] == {"defaults": None, "best": 0.3}
    assert differing["loss.name"] == {"defaults": "reweight", "best": "error"}
    assert not {"loss.invariant", "loss.scale", "loss.base.name"} & set(differing), "nothing that both have by default"


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
    assert (study / "figures/pareto.svg").is_file()
    assert not (study / "figures/intermediate.svg").exists()


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
