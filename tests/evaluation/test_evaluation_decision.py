from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from evaluation_cases import at_threshold, imbalanced, names, predictions
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.errors import InputError
from matcard.evaluation.decision import Decision, argmax, by_cost, by_offsets, prior_adjusted
from matcard.evaluation.metrics import classification_metrics
from matcard.files import read_json, to_json

few = settings(deadline=None, max_examples=40)


@few
@given(predictions())
def test_argmax_is_argmax(case):
    _, probabilities = case
    decision = argmax(names(probabilities.shape[1]))
    assert (decision.apply(probabilities) == probabilities.argmax(axis=1)).all()


@few
@given(st.floats(0.001, 0.999), st.integers(0, 2**31))
def test_a_threshold_is_a_threshold(threshold, seed):
    score = np.random.default_rng(seed).random(50)
    decision = at_threshold(["no", "yes"], threshold)
    assert decision.threshold == pytest.approx(threshold)
    assert (decision.apply(np.stack([1 - score, score], axis=1)) == (score > threshold)).all()


def test_offsets_are_added_to_logits():
    _, probabilities, _ = imbalanced(num_classes=4)
    offsets = np.array([0.0, 1.0, -2.0, 0.5])
    got = by_offsets("test", names(4), offsets).apply(probabilities)
    assert (got == (np.log(probabilities) + offsets).argmax(axis=1)).all()


def test_costs_are_minimised_row_by_row():
    rng = np.random.default_rng(0)
    _, probabilities, _ = imbalanced(num_classes=3)
    costs = rng.random((3, 3)) * (1 - np.eye(3))
    got = by_cost(names(3), costs).apply(probabilities)
    for row, called in zip(probabilities, got, strict=True):
        expected = [sum(row[i] * costs[i, j] for i in range(3)) for j in range(3)]
        assert expected[called] == min(expected)


def test_missing_a_rare_phase_nine_times_as_dear_is_a_threshold_of_a_tenth():
    decision = by_cost(["common", "rare"], [[0, 1], [9, 0]])
    assert decision.threshold == pytest.approx(0.1)


def test_costs_that_never_pay_have_no_threshold():
    decision = by_cost(["a", "b"], [[0, 0], [0, 0]])
    assert decision.threshold is None
    assert argmax(names(3)).threshold is None


def test_prior_adjustment_is_bayes_rule():
    """Two Gaussians, trained at shares 9:1, decided for equal ones: the border moves to the middle."""
    x = np.linspace(-3, 3, 601)
    density = np.exp(-((x[:, None] - np.array([-1.0, 1.0])) ** 2) / 2)
    trained = density * [0.9, 0.1]
    trained /= trained.sum(axis=1, keepdims=True)
    got = prior_adjusted(["a", "b"], np.array([900, 100])).apply(trained)
    assert (got[np.abs(x) > 1e-9] == (x[np.abs(x) > 1e-9] > 0)).all()
    shifted = prior_adjusted(["a", "b"], np.array([900, 100]), shares=np.array([0.3, 0.7])).apply(trained)
    expected = density[:, 1] * 0.7 > density[:, 0] * 0.3
    assert (shifted == expected).mean() > 0.995


def test_prior_adjustment_to_the_training_shares_changes_nothing():
    _, probabilities, counts = imbalanced()
    decision = prior_adjusted(names(4), counts, shares=counts / counts.sum())
    assert (decision.apply(probabilities) == probabilities.argmax(axis=1)).all()


@pytest.mark.parametrize("make", [lambda: at_threshold(["a", "b"], 0.2), lambda: by_cost(names(3), 1 - np.eye(3))])
def test_decision_travels_through_its_file(tmp_path, make):
    decision = make()
    to_json(decision.to_dict(), tmp_path / "decision.json")
    assert Decision.from_dict(read_json(tmp_path / "decision.json"), "decision.json") == decision


def test_todays_file_is_readable_tomorrow():
    stored = {
        "rule": "best macro_f1 on validation", "class_names": ["metal", "insulator"],
        "gain": [[0.25, 0.0], [0.0, 0.75]], "threshold": 0.25,
    }  # fmt: skip
    decision = Decision.from_dict(stored, "decision.json")
    assert decision.threshold == 0.25
    assert decision.apply(np.array([[0.7, 0.3], [0.8, 0.2]])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "holds no decision"),
        ("[1]", "holds no decision"),
        ('{"rule": "x", "class_names": ["a", "b"], "gain": [[1, 0]]}', "2 x 2 matrix"),
        (
            '{"rule": "x", "class_names": ["a", "b"], "gain": [[1, null], [0, 1]]}',
            "2 x 2 matrix",
        ),
        ('{"rule": "x", "class_names": ["a", "b"], "gain": [[1, 0], [1]]}', "2 x 2 matrix"),
    ],
)
def test_a_damaged_file_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        Decision.from_dict(json.loads(text), "decision.json")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: by_cost(names(3), np.eye(2)), "3 x 3"),
        (lambda: by_cost(names(2), [[0, np.inf], [1, 0]]), "finite"),
        (lambda: prior_adjusted(names(2), [5, 0]), "no training sample: phase 1"),
        (lambda: argmax(names(3)).apply(np.full((1, 2), 0.5)), "shape"),
    ],
)
def test_bad_rules_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_decision_moves_the_classes_and_not_the_ranking():
    targets, probabilities, counts = imbalanced(num_classes=2)
    score = partial(classification_metrics, targets, probabilities, class_names=names(2), train_counts=counts)
    plain, chosen = score(), score(predicted=at_threshold(names(2), 0.15).apply(probabilities))
    assert chosen["minority_recall"] > plain["minority_recall"]
    assert chosen["average_precision"] == plain["average_precision"]
