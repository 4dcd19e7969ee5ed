"""Trials that fail, are pruned or collapse."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from optuna.trial import TrialState
from tune_cases import ROWS, SMOOTHING, run, trials_of

from matcard.errors import TrainingError
from matcard.study.objective import SCORES, PartScores, trained
from matcard.training.config import parse_config
from matcard.work import trainings
from matcard.work.attempt import NoValueError, Wire


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
def test_hopeless_trials_are_pruned_by_epochs(here, played, monkeypatch, pruner):
    # Hyperband deals trials to its brackets by the name of the study, which is another one each time.
    monkeypatch.setattr("matcard.study.tuning.uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex="0" * 32)))
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

    monkeypatch.setattr(trainings, "fit", fail)
    with pytest.raises(TrainingError, match="too many trials fail"):
        run("--study=a", "--trials=3")
    table = pd.read_parquet("runs/studies/a/trials.parquet")
    assert table["failure"].str.startswith(reason).tolist() == 10 * [True]


def test_a_training_that_puts_all_in_one_class_is_no_success(here, monkeypatch):
    scores = PartScores(
        np.array(["a", "b"]), np.array([0, 1]), np.array([[0.6, 0.4]] * 2), np.array([1, 1]), np.array([])
    )
    monkeypatch.setattr(trainings, "fit", lambda *_: object())
    monkeypatch.setattr(PartScores, "of", lambda *_: scores)
    config = parse_config([*ROWS], prog="", description="")
    with pytest.raises(NoValueError, match="collapsed: the best epoch predicts 'plain' for every sample"):
        trained(config, SimpleNamespace(class_names=("plain", "odd")), here / "run", Wire(print), keep_weights=False)
    assert not (here / "run" / SCORES).exists()


def test_sobol_points_go_on_in_the_next_command(here, played):
    whole = run("--study=whole", "--trials=6", "--sampler=qmc")
    run("--study=parts", "--trials=3", "--sampler=qmc")
    parts = run("--study=parts", "--trials=6", "--sampler=qmc")
    assert parts["optimizer.lr"].tolist() == whole["optimizer.lr"].tolist()
    assert whole["optimizer.lr"].nunique() == 6


def test_the_scale_of_a_sampler_is_searched(here):
    (here / "space.yaml").write_text(
        "trainer.sampler: {choices: [shuffle, spread]}\n"
        "trainer.sampler_scale: {type: float, low: 3, high: 300, log: true, when: {trainer.sampler: spread}}\n"
    )
    table = run("--study=drawn", "--trials=6", "--sampler=random")
    spread = table["trainer.sampler"] == "spread"
    assert 0 < spread.sum() < len(table)
    assert table.loc[spread, "trainer.sampler_scale"].between(3, 300).all()
    assert table.loc[~spread, "trainer.sampler_scale"].isna().all()
