from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from evaluation_cases import imbalanced, predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from matcard.evaluation.metrics import ranking_averages, ranking_steps

few = settings(deadline=None, max_examples=50)


def roc_auc(positive, scores):
    return float(ranking_steps(positive, scores).roc_auc())


def average_precision(positive, scores):
    return float(ranking_steps(positive, scores).average_precision())


@few
@given(predictions(max_classes=2))
def test_against_pairs_and_scikit_learn(case):
    targets, probabilities = case
    positive, scores = targets == 1, probabilities[:, 1]
    above = [
        (p > n) + (p == n) / 2 for p, n in itertools.product(scores[positive].tolist(), scores[~positive].tolist())
    ]
    if above:
        assert roc_auc(positive, scores) == pytest.approx(sum(above) / len(above))
        assert roc_auc(positive, scores) == pytest.approx(roc_auc_score(positive, scores))
    else:
        assert math.isnan(roc_auc(positive, scores))
    if positive.any():
        assert average_precision(positive, scores) == pytest.approx(average_precision_score(positive, scores))
    else:
        assert math.isnan(average_precision(positive, scores))


@few
@given(predictions(), st.integers(0, 2**31))
def test_weights_are_repetitions(case, seed):
    targets, probabilities = case
    times = np.random.default_rng(seed).integers(0, 4, size=(3, len(targets)))
    times[:, 0] += 1
    minority = np.arange(probabilities.shape[1]) > 0
    weighted = ranking_averages(targets, probabilities, minority, times.astype(float))
    for row, count in enumerate(times):
        repeated = ranking_averages(np.repeat(targets, count), np.repeat(probabilities, count, axis=0), minority)
        for name, value in repeated.items():
            assert weighted[name][row] == pytest.approx(float(value), nan_ok=True), name


@few
@given(predictions(max_classes=2))
def test_increasing_maps_of_the_score_change_nothing(case):
    targets, probabilities = case
    positive, scores = targets == 1, probabilities[:, 1]
    assert roc_auc(positive, np.exp(5 * scores)) == pytest.approx(roc_auc(positive, scores), nan_ok=True)
    assert roc_auc(~positive, -scores) == pytest.approx(roc_auc(positive, scores), nan_ok=True)


def test_constant_scores_give_one_half_and_the_prevalence():
    positive = np.array([True, False, False, False])
    assert roc_auc(positive, np.zeros(4)) == 0.5
    assert average_precision(positive, np.zeros(4)) == 0.25


def test_steps_count_down_the_scores():
    steps = ranking_steps(np.array([True, False, True, False]), np.array([0.9, 0.5, 0.5, 0.1]))
    assert steps.tp.tolist() == [1, 2, 2]
    assert steps.fp.tolist() == [0, 1, 2]


def test_two_classes_take_the_score_of_class_1():
    targets, probabilities, _ = imbalanced(num_classes=2)
    got = ranking_averages(targets, probabilities, np.array([True, False]))
    assert got["average_precision"] == pytest.approx(average_precision_score(targets, probabilities[:, 1]))
    assert got["minority_average_precision"] == pytest.approx(
        average_precision_score(targets == 0, probabilities[:, 0])
    )


@few
@given(predictions(max_classes=2, max_samples=6), st.integers(1, 8))
def test_at_k_is_the_mean_over_orders_of_tied_samples(case, k):
    targets, probabilities = case
    positive, scores = targets == 1, probabilities[:, 1]
    k = min(k, len(scores))
    found = []
    for order in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            found.append(positive[list(order[:k])].sum())
    got = ranking_steps(positive, scores).at_k(k)
    assert got["k"] == k
    assert got["precision"] == pytest.approx(np.mean(found) / k)
    if positive.any():
        assert got["recall"] == pytest.approx(np.mean(found) / positive.sum())
    else:
        assert math.isnan(got["recall"])
