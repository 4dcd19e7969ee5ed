from __future__ import annotations

import math

import numpy as np
import pytest
from evaluation_cases import imbalanced, names, predictions
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.errors import InputError
from matcard.evaluation import bootstrap, bootstrap_intervals, classification_metrics

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
    for name, (low, high) in got.items():
        values = np.array([draw[name] for draw in draws])
        expected = np.quantile(values, [0.025, 0.975])
        # The quantiles of 600 draws are themselves uncertain by about a tenth of the spread.
        assert (low, high) == pytest.approx(expected, abs=0.35 * values.std() + 1e-9), name
        assert low < values.mean() < high


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
    monkeypatch.setattr(bootstrap, "_CHUNK", 80 * 7)
    chunked = bootstrap_intervals(targets, probabilities, train_counts=counts, resamples=50, seed=3)
    assert chunked.keys() == first.keys()
    assert chunked["macro_f1"] == first["macro_f1"]
    assert chunked["roc_auc"] == pytest.approx(first["roc_auc"], abs=0.02)


def test_a_higher_level_is_wider():
    targets, probabilities, counts = imbalanced(200)
    wide = bootstrap_intervals(targets, probabilities, train_counts=counts, level=0.99, resamples=500)
    narrow = bootstrap_intervals(targets, probabilities, train_counts=counts, level=0.5, resamples=500)
    for name, (low, high) in narrow.items():
        assert wide[name][0] < low < high < wide[name][1]


def test_given_predictions_are_used():
    targets, probabilities, counts = imbalanced(200, 2)
    got = bootstrap_intervals(
        targets, probabilities, train_counts=counts, predicted=np.zeros(200, dtype=int), resamples=50
    )
    assert got["balanced_accuracy"] == (0.5, 0.5)
    assert math.isnan(got["mcc"][0])


@pytest.mark.parametrize("options", [{"level": 1.0}, {"resamples": 0}])
def test_bad_options_are_refused(options):
    targets, probabilities, counts = imbalanced(20)
    with pytest.raises(InputError, match="level must lie in"):
        bootstrap_intervals(targets, probabilities, train_counts=counts, **options)
