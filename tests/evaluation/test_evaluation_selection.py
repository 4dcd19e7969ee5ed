from __future__ import annotations

import itertools

import numpy as np
import pytest
from evaluation_cases import imbalanced, names, predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from matcard.errors import InputError
from matcard.evaluation import best_f1, best_score, target_precision, target_recall
from matcard.evaluation.confusion import confusion_averages, confusion_matrix
from matcard.evaluation.selection import OBJECTIVES

few = settings(deadline=None, max_examples=40)


def objective(name, targets, probabilities, predicted=None):
    num_classes = probabilities.shape[1]
    called = probabilities.argmax(axis=1) if predicted is None else predicted
    averages = confusion_averages(confusion_matrix(targets, called, num_classes), np.ones(num_classes, dtype=bool))
    return np.nan_to_num(averages[name], nan=-np.inf)


def every_threshold(probabilities):
    """Give the predictions of all thresholds that differ."""
    score = np.log(probabilities[:, 1] + 1e-300) - np.log(probabilities[:, 0] + 1e-300)
    levels = np.unique(score)
    inner = (levels[1:] + levels[:-1]) / 2
    return [(score > level).astype(int) for level in [levels[0] - 1, *inner, levels[-1] + 1]]


@few
@given(predictions(max_classes=2), st.sampled_from(sorted(OBJECTIVES)))
def test_two_classes_reach_the_best_threshold_there_is(case, name):
    targets, probabilities = case
    # A probability of 0 or 1 is beyond every threshold: such predictions are not for the rule to change.
    probabilities = 0.9 * probabilities + 0.05
    got = objective(
        name, targets, probabilities, best_score(targets, probabilities, names(2), name).apply(probabilities)
    )
    best = max(objective(name, targets, probabilities, predicted) for predicted in every_threshold(probabilities))
    assert got == pytest.approx(best)


@few
@given(predictions(), st.sampled_from(sorted(OBJECTIVES)))
def test_never_worse_than_argmax_where_it_was_chosen(case, name):
    targets, probabilities = case
    predicted = best_score(targets, probabilities, names(probabilities.shape[1]), name).apply(probabilities)
    assert objective(name, targets, probabilities, predicted) >= objective(name, targets, probabilities) - 1e-12


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_more_classes_gain_and_no_single_offset_gains_more(name, seed):
    targets, probabilities, _ = imbalanced(300, 4, seed, signal=1.0)
    decision = best_score(targets, probabilities, names(4), name)
    got = objective(name, targets, probabilities, decision.apply(probabilities))
    assert got > objective(name, targets, probabilities) + 0.02
    offsets = np.log(np.diag(decision.gain))
    for c, step in itertools.product(range(4), np.linspace(-1, 1, 81)):
        moved = np.log(probabilities) + offsets
        moved[:, c] += step
        assert objective(name, targets, probabilities, moved.argmax(axis=1)) <= got + 1e-9


def test_argmax_stays_where_it_is_as_good():
    targets = np.array([0, 1, 2])
    decision = best_score(targets, 0.7 * np.eye(3) + 0.1, names(3))
    assert np.diag(decision.gain).tolist() == [1, 1, 1]


@few
@given(predictions(max_classes=4), st.data())
def test_best_f1_of_a_class_is_the_best_of_all_its_offsets(case, data):
    targets, probabilities = case
    probabilities = 0.9 * probabilities + 0.1 / probabilities.shape[1]
    c = data.draw(st.integers(0, probabilities.shape[1] - 1))

    def f1(predicted):
        called, of_class = predicted == c, targets == c
        return 2 * (called & of_class).sum() / max(1, called.sum() + of_class.sum())

    decision = best_f1(targets, probabilities, names(probabilities.shape[1]), f"phase {c}")
    others = np.delete(probabilities, c, axis=1).max(axis=1)
    levels = np.unique((np.log(others) - np.log(probabilities[:, c])).round(9))
    tried = []
    for offset in [0, levels[0] - 1, *((levels[1:] + levels[:-1]) / 2), levels[-1] + 1]:
        moved = np.log(probabilities)
        moved[:, c] += offset
        tried.append(f1(moved.argmax(axis=1)))
    assert f1(decision.apply(probabilities)) == pytest.approx(max(tried))


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("aim", [0.5, 0.8, 0.95, 1.0])
def test_target_recall_is_reached_at_the_least_price(num_classes, aim):
    targets, probabilities, _ = imbalanced(400, num_classes)
    decision = target_recall(targets, probabilities, names(num_classes), "phase 1", aim)
    predicted = decision.apply(probabilities)
    reached = recall_score(targets == 1, predicted == 1)
    assert reached >= aim
    # One sample of the class fewer and the target would be missed.
    assert reached - 1 / (targets == 1).sum() < aim
    assert decision.rule == f"recall of phase 1 >= {aim:g} on validation"


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("aim", [0.6, 0.8])
def test_target_precision_holds_with_the_most_recall(num_classes, aim):
    targets, probabilities, _ = imbalanced(400, num_classes)
    predicted = target_precision(targets, probabilities, names(num_classes), "phase 1", aim).apply(probabilities)
    held = precision_score(targets == 1, predicted == 1)
    found = recall_score(targets == 1, predicted == 1)
    assert held >= aim
    ratio = probabilities[:, 1] / np.delete(probabilities, 1, axis=1).max(axis=1)
    for level in np.unique(ratio):
        called = ratio >= level
        if (targets[called] == 1).mean() >= aim:
            assert called[targets == 1].mean() <= found + 1e-12


def test_certain_predictions_stay():
    targets = np.array([0, 1, 1, 0])
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    decision = best_score(targets, probabilities, names(2))
    assert decision.apply(probabilities).tolist() == [0, 1, 0, 1]
    with pytest.raises(InputError, match=r"out of reach on validation; at most 0\.500"):
        target_recall(targets, probabilities, names(2), "phase 1", 0.9)


def test_near_ties_are_one_step():
    """Offsets chosen between scores that differ by rounding would not survive being applied."""
    targets = np.array([0, 0, 0, 1, 1, 1])
    tied = 0.3 + 4 * np.spacing(0.3) * np.arange(6)
    assert len(set(tied.tolist())) == 6
    probabilities = np.stack([1 - tied, tied], axis=1)
    predicted = best_score(targets, probabilities, names(2), "balanced_accuracy").apply(probabilities)
    assert len(set(predicted.tolist())) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, p: best_score(y, p, names(3), "macro_f"), "there are: macro_f1"),
        (lambda y, p: best_f1(y, p, names(3), "phase 9"), "no class 'phase 9'; there are: phase 0"),
        (lambda y, p: target_recall(y, p, names(3), "phase 2", 0.5), "no sample to measure"),
        (lambda y, p: target_precision(y, p, names(3), "phase 2", 0.5), "at most 0.000"),
        (lambda y, p: target_recall(y, p, names(3), "phase 1", 90), r"in \(0, 1\]"),
        (lambda y, p: target_precision(y, p, names(3), "phase 1", 0), r"in \(0, 1\]"),
        (lambda y, p: best_score(y[:0], p[:0], names(3)), "nothing to evaluate"),
    ],
)
def test_what_cannot_be_aimed_at_is_refused(call, message):
    targets, probabilities, _ = imbalanced(50, 3)
    targets[targets == 2] = 0
    with pytest.raises(InputError, match=message):
        call(targets, probabilities)
