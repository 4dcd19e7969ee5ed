from __future__ import annotations

import json
import math

import numpy as np
import pytest
from evaluation_cases import imbalanced, names, predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

from matcard.evaluation import figures
from matcard.evaluation import scoring as scoring_module
from matcard.evaluation.calibration import fit_calibration, log_loss
from matcard.evaluation.choice import best_score
from matcard.evaluation.figures import write_figures
from matcard.evaluation.metrics import classification_metrics, metric_names, per_class_ranking
from matcard.evaluation.printed import averages_table, calibration_line, shares_table
from matcard.evaluation.scoring import bootstrap_intervals, scored
from matcard.evaluation.style import new_figure
from matcard.files import read_json, to_json

TARGETS, PROBABILITIES, COUNTS = imbalanced(300, 4, seed=5)
NAMES = names(4)
DECISION = best_score(TARGETS, PROBABILITIES, NAMES)
CALIBRATION = fit_calibration(TARGETS, PROBABILITIES)


@pytest.fixture(scope="module")
def metrics():
    return scored(TARGETS, PROBABILITIES, train_counts=COUNTS, decision=DECISION, calibration=CALIBRATION)


def test_every_metric_is_there_at_argmax_and_at_the_decision(metrics):
    for name in metric_names():
        assert np.isfinite(metrics[name])
        assert np.isfinite(metrics["at_decision"][name])
    called = DECISION.apply(PROBABILITIES)
    assert metrics["at_decision"]["balanced_accuracy"] == pytest.approx(recall_score(TARGETS, called, average="macro"))
    assert metrics["at_decision"]["rule"] == DECISION.rule
    for scores in (metrics, metrics["at_decision"]):
        for name, (low, high) in scores["intervals"].items():
            assert low <= scores[name] <= high, name
    assert set(metrics["intervals"]) - set(metrics["at_decision"]["intervals"]) == {
        "roc_auc", "average_precision", "minority_average_precision",
    }  # fmt: skip


def test_rankings_of_each_class_are_those_of_scikit_learn(metrics):
    for c, name in enumerate(NAMES):
        ranking, positive, score = metrics["ranking"][name], c == TARGETS, PROBABILITIES[:, c]
        assert ranking["average_precision"] == pytest.approx(average_precision_score(positive, score))
        assert ranking["roc_auc"] == pytest.approx(roc_auc_score(positive, score))
        assert ranking["prevalence"] == pytest.approx(positive.mean())
        assert [at["k"] for at in ranking["at_k"]] == sorted({10, 100, int(positive.sum())})
        for at in ranking["at_k"]:
            called = np.zeros(len(score), dtype=bool)
            called[np.argsort(-score)[: at["k"]]] = True
            assert at["precision"] == pytest.approx(precision_score(positive, called))
            assert at["recall"] == pytest.approx(recall_score(positive, called))


def test_a_class_without_samples_is_undefined():
    ranking = per_class_ranking(np.zeros(20, dtype=int), np.full((20, 2), 0.5), ["here", "absent"])["absent"]
    assert np.isnan([ranking["average_precision"], ranking["roc_auc"], ranking["at_k"][0]["recall"]]).all()
    assert ranking["prevalence"] == 0
    assert [at["k"] for at in ranking["at_k"]] == [10]


def test_calibration_before_and_after(metrics):
    after = metrics["calibrated"]
    assert after["temperature"] == CALIBRATION.temperature
    assert after["log_loss"] == pytest.approx(log_loss(TARGETS, CALIBRATION.apply(PROBABILITIES)))
    assert after["log_loss"] <= metrics["log_loss"]
    assert sum(metrics["reliability"]["total"]) == sum(after["reliability"]["total"]) == 300
    line = calibration_line(metrics)
    assert f"{metrics['ece']:.3f} -> {after['ece']:.3f}" in line


def test_it_survives_json_and_is_shown_alike(metrics, tmp_path):
    to_json(metrics, tmp_path / "metrics.json")
    again = read_json(tmp_path / "metrics.json")
    assert json.dumps(again)
    for show in (averages_table, lambda said: shares_table(said, COUNTS.tolist())):
        assert list(show(metrics).columns[0].cells) == list(show(again).columns[0].cells)
        assert list(show(metrics).columns[1].cells) == list(show(again).columns[1].cells)


def test_large_sets_are_resampled_less_often(monkeypatch):
    asked = []

    def noted(*_args, resamples, **_more):
        asked.append(resamples)
        return {}

    monkeypatch.setattr(scoring_module, "bootstrap_intervals", noted)
    for repeats in (1, 50, 500):
        scored(
            np.tile(TARGETS, repeats), np.tile(PROBABILITIES, (repeats, 1)),
            train_counts=COUNTS, decision=DECISION, calibration=CALIBRATION,
        )  # fmt: skip
    assert asked == [1000, 1000, 500, 500, 100, 100]


def test_figures(metrics, tmp_path):
    write_figures(tmp_path, TARGETS, PROBABILITIES, metrics)
    for name in ("confusion", "recall", "precision_recall", "reliability"):
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000


def test_curves_are_of_the_rarest_classes_that_have_samples(metrics, tmp_path, monkeypatch):
    shown, drawn = [], new_figure(1, 1)
    monkeypatch.setattr(figures, "precision_recall_figure", lambda *given: shown.extend(given[3]) or drawn)
    absent = {f"absent {k}": {**next(iter(metrics["recall"].values())), "n": 0} for k in range(8)}
    recall = {**absent, **metrics["recall"]}
    shape = (len(TARGETS), len(absent))
    write_figures(
        tmp_path, TARGETS + len(absent), np.hstack([np.zeros(shape), PROBABILITIES]), {**metrics, "recall": recall}
    )
    assert shown
    assert not set(shown) & set(absent)


few = settings(deadline=None, max_examples=20)


def plain_bootstrap(targets, probabilities, counts, resamples, seed):
    """Resample each class by index and score the resample anew, one at a time."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(targets == label) for label in np.unique(targets)]
    draws = []
    for _ in range(resamples):
        rows = np.concatenate([rng.choice(group, len(group)) for group in members])
        draws.append(
            classification_metrics(
                targets[rows], probabilities[rows], class_names=names(probabilities.shape[1]), train_counts=counts
            )
        )
    return draws


@pytest.mark.parametrize("num_classes", [2, 4])
def test_intervals_are_those_of_a_plain_bootstrap(num_classes):
    targets, probabilities, counts = imbalanced(150, num_classes)
    got = bootstrap_intervals(targets, probabilities, train_counts=counts, resamples=4000)
    draws = plain_bootstrap(targets, probabilities, counts, 600, seed=1)
    found = classification_metrics(targets, probabilities, class_names=names(num_classes), train_counts=counts)
    for name, (low, high) in got.items():
        values = np.array([draw[name] for draw in draws])
        if "average_precision" in name:
            values += found[name] - values.mean()
        expected = np.quantile(values, [0.025, 0.975])
        # The quantiles of 600 draws are themselves uncertain by about a tenth of the deviation, and by a step of 1/150.
        assert (low, high) == pytest.approx(expected, abs=0.35 * values.std() + 1 / 150), name
        assert low < values.mean() < high


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_average_precision_of_few_samples_holds_it(seed):
    """Of samples that rank last nearly all resamples of a plain bootstrap are better than the sample."""
    targets, scores = np.repeat([0, 1], [60, 8]), np.linspace(1, 0, 68)
    probabilities, counts = np.stack([1 - scores, scores], axis=1), np.array([60, 8])
    found = average_precision_score(targets, scores)
    plain = [draw["average_precision"] for draw in plain_bootstrap(targets, probabilities, counts, 200, seed)]
    assert np.quantile(plain, 0.025) > found
    low, high = bootstrap_intervals(targets, probabilities, train_counts=counts, seed=seed)["average_precision"]
    assert low < found < high


@few
@given(predictions(), st.integers(0, 2**31))
def test_bounds_are_ordered_and_in_range(case, seed):
    targets, probabilities = case
    counts = np.ones(probabilities.shape[1])
    got = bootstrap_intervals(targets, probabilities, train_counts=counts, resamples=20, seed=seed)
    assert math.isnan(got["minority_recall"][0])
    for name, (low, high) in got.items():
        if name != "mcc":
            assert math.isnan(low) or 0 <= low <= high <= 1 + 1e-12


def test_same_seed_same_interval_in_chunks_of_any_size(monkeypatch):
    targets, probabilities, counts = imbalanced(80)
    first = bootstrap_intervals(targets, probabilities, train_counts=counts, resamples=50, seed=3)
    again = bootstrap_intervals(targets, probabilities, train_counts=counts, resamples=50, seed=3)
    other = bootstrap_intervals(targets, probabilities, train_counts=counts, resamples=50, seed=4)
    assert first == again
    assert first != other
    monkeypatch.setattr(scoring_module, "_CHUNK", 80 * 7)
    chunked = bootstrap_intervals(targets, probabilities, train_counts=counts, resamples=50, seed=3)
    assert chunked.keys() == first.keys()
    assert chunked["macro_f1"] == first["macro_f1"]
    assert chunked["roc_auc"] == pytest.approx(first["roc_auc"], abs=0.02)


def test_given_predictions_are_used():
    targets, probabilities, counts = imbalanced(200, 2)
    got = bootstrap_intervals(
        targets, probabilities, train_counts=counts, predicted=np.zeros(200, dtype=int), resamples=50
    )
    assert got["balanced_accuracy"] == (0.5, 0.5)
    assert math.isnan(got["mcc"][0])
