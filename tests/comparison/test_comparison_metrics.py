"""Metrics that a comparison shows: their names, and the four that are taken from groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.comparison.results import METRICS, measured, metric, rules_of
from matcard.errors import InputError
from matcard.evaluation import metrics as evaluated
from matcard.evaluation.decision import DecisionOptions


def outcome(targets, probabilities, train_counts):
    """Give the validation part as a run records it."""
    names = [f"class {c}" for c in range(probabilities.shape[1])]
    found = measured(
        lambda part: (targets, probabilities),
        tested=False,
        decision=DecisionOptions(),
        class_names=names,
        train_counts=np.array(train_counts),
    )
    assert found["train_counts"] == dict(zip(names, train_counts, strict=True))
    return found["val"]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_precision_at_100_of_two_classes_is_that_of_class_1(seed):
    rng = np.random.default_rng(seed)
    scores, targets = rng.random(300), rng.integers(2, size=300)
    found = outcome(targets, np.stack([1 - scores, scores], axis=1), [9, 5])["argmax"]
    assert found["precision_at_100"] == pytest.approx(targets[np.argsort(-scores)[:100]].mean())


def test_precision_at_100_of_more_classes_is_the_mean():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=250)
    targets = rng.integers(3, size=250)  # none is of the fourth
    found = outcome(targets, probabilities, [9, 9, 9, 9])["decision"]
    slow = [(targets[np.argsort(-probabilities[:, c])[:100]] == c).mean() for c in range(3)]
    assert found["precision_at_100"] == pytest.approx(np.mean(slow))


def test_precision_at_100_needs_100_samples():
    scores = np.linspace(0.1, 0.9, 99)
    found = outcome(np.arange(99) % 2, np.stack([1 - scores, scores], axis=1), [9, 5])["argmax"]
    assert found["precision_at_100"] is None


def test_recall_by_the_number_of_training_samples():
    rng = np.random.default_rng(1)
    counts = [500, 101, 100, 20, 19]
    probabilities, targets = rng.dirichlet(np.ones(5), size=200), rng.integers(5, size=200)
    found = outcome(targets, probabilities, counts)["argmax"]
    recall = [(probabilities.argmax(axis=1)[targets == c] == c).mean() for c in range(5)]
    assert found["many_shot_recall"] == pytest.approx(np.mean(recall[:2]))
    assert found["medium_shot_recall"] == pytest.approx(np.mean(recall[2:4]))
    assert found["few_shot_recall"] == pytest.approx(recall[4])


def test_every_name_has_a_label_a_direction_and_rules():
    assert set(evaluated.metric_names()) < set(METRICS)
    assert len({each.label for each in METRICS.values()}) == len(METRICS)
    assert [name for name, each in METRICS.items() if not each.higher_is_better] == ["ece", "brier", "log_loss"]
    assert rules_of("precision_at_100") == rules_of("roc_auc") == ("argmax",)
    assert rules_of("few_shot_recall") == rules_of("macro_f1") == ("argmax", "decision")
    with pytest.raises(InputError, match=r"few_shot_recal.*did you mean few_shot_recall"):
        metric("few_shot_recal")
