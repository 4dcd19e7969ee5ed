"""Retraining the best over seeds: tested once, shared by workers, honestly judged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tune_cases import run

from matcard import tune as command
from matcard.errors import MatcardWarning
from matcard.study import gains
from matcard.study.objective import PartScores


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
    train = gains.train_fully

    def fails(config, shared, division, tested, folder, line):
        if (division.again, tested) == (1, True):
            raise OSError("no space left on device")
        return train(config, shared, division, tested, folder, line)

    with monkeypatch.context() as patch:
        patch.setattr(gains, "train_fully", fails)
        run("--study=a", "--trials=3", "--retrain=2", "--trainer.max_epochs=1")
    shown = capsys.readouterr().out
    assert "best-1: OSError: no space left on device" in shown
    assert shown.count("best-0: trained") == 1
    assert "1 of 2 seeds are left out" in shown
    assert "mean over 1 seeds" in shown
    (runs,) = (here / "runs/studies/a/retrained").iterdir()
    before = (runs / "best-0/test.npz").stat().st_mtime_ns
    command.main(["--study=a"])
    shown = capsys.readouterr().out
    assert "best-1: trained" in shown
    assert "best-0: trained" not in shown
    assert "mean over 2 seeds" in shown
    assert (runs / "best-0/test.npz").stat().st_mtime_ns == before


def test_more_seeds_than_folds_divide_the_rest_anew(here, played):
    run("--study=a", "--trials=1", "--folds=2", "--retrain=3", "--trainer.max_epochs=1")
    (runs,) = (here / "runs/studies/a/retrained").iterdir()
    assert json.loads((runs / "summary.json").read_text())["seeds"] == [0, 1, 2]


def test_another_best_that_is_tested_is_warned_of(here, played):
    (here / "space.yaml").write_text("optimizer.lr: {type: float, low: 0.02, high: 0.05}\n")
    run("--study=a", "--trials=1", "--retrain=1", "--trainer.max_epochs=1")
    (here / "runs/studies/a/retrained/other").mkdir()
    (here / "runs/studies/a/retrained/other/summary.json").write_text("{}")
    with pytest.warns(MatcardWarning, match="another best of this study was tested before"):
        command.main(["--study=a"])


def estimate(value, low, high):
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (estimate(-0.01, -0.03, 0.01), "the defaults are ahead"),
        (estimate(0.01, -0.01, 0.03), "a difference is not shown"),
        (estimate(0.0, 0.0, 0.0), "a difference is not shown"),
        (estimate(0.01, math.nan, math.nan), "a difference is not shown"),
        (estimate(0.02, 0.01, 0.03), "more than the seeds' scatter"),
    ],
)
def test_the_verdict_over_seeds_is_honest(gain, words):
    assert words in gains.verdict("macro_f1", gain)
    opposite = estimate(-gain["value"], -gain["high"], -gain["low"])
    assert words in gains.verdict("log_loss", opposite), "there lower is better"
