"""The choice of a decision rule, against predictions that are made anew at each offset."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
from evaluation_cases import at_threshold, imbalanced, names, predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from matcard.errors import InputError
from matcard.evaluation.choice import (
    along,
    best_of_class,
    best_score,
    check_decision,
    choose_decision,
    read_costs,
)
from matcard.evaluation.confusion import AVERAGES, confusion_averages, confusion_matrix
from matcard.evaluation.decision import DecisionOptions, Objective, by_cost, mean_decision

TARGETS, PROBABILITIES, COUNTS = imbalanced(600, 3, seed=4)
NAMES = names(3)


def choose(**options):
    return choose_decision(DecisionOptions(**options), TARGETS, PROBABILITIES, NAMES, COUNTS)


def called(decision):
    return decision.apply(PROBABILITIES)


def test_the_default_is_the_best_macro_f1():
    assert choose() == best_score(TARGETS, PROBABILITIES, NAMES)
    gained = f1_score(TARGETS, called(choose()), average="macro")
    assert gained >= f1_score(TARGETS, PROBABILITIES.argmax(1), average="macro")


def test_argmax():
    np.testing.assert_array_equal(called(choose(rule="argmax")), PROBABILITIES.argmax(1))


@pytest.mark.parametrize("positive", [None, *NAMES])
def test_rules_of_one_class(positive):
    c = 2 if positive is None else NAMES.index(positive)
    f1 = f1_score(TARGETS, called(choose(rule="best_f1", positive=positive)), average=None)[c]
    assert f1 >= f1_score(TARGETS, PROBABILITIES.argmax(1), average=None)[c]
    recall = recall_score(TARGETS, called(choose(rule="target_recall", positive=positive, target=0.9)), average=None)[c]
    assert 0.9 <= recall < 0.93
    reached = called(choose(rule="target_precision", positive=positive, target=0.9))
    assert precision_score(TARGETS, reached, average=None)[c] >= 0.9


def test_costs_from_a_file_in_any_order(tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text("true,phase 2,phase 0,phase 1\nphase 1,4,5,0\nphase 2, 0 ,7,8\nphase 0,2,0,1\n")
    costs = np.array([[0, 1, 2], [5, 0, 4], [7, 8, 0]])
    np.testing.assert_array_equal(read_costs(path, NAMES), costs)
    assert choose(rule="cost", costs=str(path)) == by_cost(NAMES, costs)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("true,phase 0,phase 1\nphase 0,0,1\nphase 1,1,0\n", "the header names phase 0, phase 1; expected each"),
        ("true,phase 0,phase 1,phase 2\nphase 0,0,1,1\n", "the first column names phase 0; expected"),
        (
            "true,phase 0,phase 1,phase 2\nphase 0,0,1,1\nphase 1,1,0,\nphase 2,1,1,0\n",
            "calling 'phase 1' 'phase 2' is no finite",
        ),
        ("", "cannot be read as CSV"),
    ],
)
def test_costs_that_do_not_fit(tmp_path, text, said):
    path = tmp_path / "costs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        check_decision(DecisionOptions(rule="cost", costs=str(path)), NAMES, COUNTS)


def test_costs_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read as CSV"):
        check_decision(DecisionOptions(rule="cost", costs=str(tmp_path / "none.csv")), NAMES, COUNTS)


def test_shares():
    equal, given = choose(rule="prior"), choose(rule="prior", shares=[0.8, 0.1, 0.1])
    np.testing.assert_array_equal(called(equal), (PROBABILITIES / COUNTS).argmax(1))
    np.testing.assert_array_equal(called(given), (PROBABILITIES / COUNTS * [0.8, 0.1, 0.1]).argmax(1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rule": "target_recall"}, "--decision.target is needed by --decision.rule target_recall"),
        ({"rule": "target_precision", "target": 0.0}, "expected a number in .0, 1."),
        ({"rule": "target_recall", "target": 1.5}, "expected a number in .0, 1."),
        ({"target": 0.5}, "--decision.target does not go with"),
        ({"rule": "cost"}, "--decision.costs is needed by"),
        ({"costs": "costs.csv"}, "--decision.costs does not go with"),
        ({"positive": "phase 1"}, "--decision.positive does not go with --decision.rule best_score"),
        ({"shares": [0.5, 0.5]}, "--decision.shares does not go with"),
        ({"rule": "prior", "shares": [-1.0, 2.0]}, "expected numbers of 0 or more"),
        ({"rule": "prior", "shares": [0.0, 0.0]}, "expected numbers of 0 or more"),
    ],
)
def test_options_that_contradict_each_other(options, said):
    with pytest.raises(InputError, match=said):
        DecisionOptions(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rule": "best_f1", "positive": "phase 11"}, "'phase 11': did you mean phase 1"),
        ({"rule": "prior", "shares": [0.5, 0.5]}, "has 2 numbers for 3 classes: give one for each of phase 0"),
    ],
)
def test_options_that_do_not_fit_the_classes(options, said):
    with pytest.raises(InputError, match=said):
        check_decision(DecisionOptions(**options), NAMES, COUNTS)


def test_no_prior_to_adjust_from():
    with pytest.raises(InputError, match="these classes have no training sample: phase 2"):
        check_decision(DecisionOptions(rule="prior"), NAMES, np.array([5, 5, 0]))


def test_the_mean_of_thresholds_is_the_threshold_of_the_mean():
    rules = [at_threshold(names(2), t) for t in (0.2, 0.4, 0.9)]
    assert mean_decision(rules).threshold == pytest.approx(0.5)
    assert mean_decision([rules[0], rules[0]]) == rules[0]
    assert mean_decision(rules[:1]) == rules[0]
    assert mean_decision(rules).rule == "mean of 3: threshold 0.2; threshold 0.4; threshold 0.9"


def test_there_is_no_mean_of_nothing_or_of_different_classes():
    with pytest.raises(InputError, match="all on the same classes"):
        mean_decision([])
    with pytest.raises(InputError, match="all on the same classes"):
        mean_decision([at_threshold(["a", "b"], 0.5), at_threshold(["a", "c"], 0.5)])


OBJECTIVES = sorted(get_args(Objective))
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
@given(predictions(max_classes=2), st.sampled_from(OBJECTIVES))
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
@given(predictions(), st.sampled_from(OBJECTIVES))
def test_never_worse_than_argmax_where_it_was_chosen(case, name):
    targets, probabilities = case
    predicted = best_score(targets, probabilities, names(probabilities.shape[1]), name).apply(probabilities)
    assert objective(name, targets, probabilities, predicted) >= objective(name, targets, probabilities) - 1e-12


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", OBJECTIVES)
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

    decision = best_of_class("best_f1", targets, probabilities, names(probabilities.shape[1]), f"phase {c}")
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
    decision = best_of_class("target_recall", targets, probabilities, names(num_classes), "phase 1", aim)
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
    predicted = best_of_class("target_precision", targets, probabilities, names(num_classes), "phase 1", aim).apply(
        probabilities
    )
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
        best_of_class("target_recall", targets, probabilities, names(2), "phase 1", 0.9)


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
        (lambda y, p: best_of_class("target_recall", y, p, names(3), "phase 2", 0.5), "no sample to measure"),
        (lambda y, p: best_of_class("target_precision", y, p, names(3), "phase 2", 0.5), "at most 0.000"),
        (lambda y, p: best_score(y[:0], p[:0], names(3)), "one at least"),
    ],
)
def test_what_cannot_be_aimed_at_is_refused(call, message):
    targets, probabilities, _ = imbalanced(50, 3)
    targets[targets == 2] = 0
    with pytest.raises(InputError, match=message):
        call(targets, probabilities)


def average(name, targets, predicted, num_classes):
    averages = confusion_averages(confusion_matrix(targets, predicted, num_classes), np.ones(num_classes, dtype=bool))
    return float(np.nan_to_num(averages[name], nan=-np.inf))


@few
@given(predictions(), st.sampled_from(OBJECTIVES), st.data())
def test_scores_are_those_of_predictions_made_anew(case, name, data):
    targets, p = case
    num_classes = p.shape[1]
    log_p = np.log(0.9 * p + 0.1 / num_classes)
    # Trees that all agree say 1 and 0 exactly.
    sure = np.array(data.draw(st.lists(st.booleans(), min_size=len(p), max_size=len(p))))
    log_p[sure] = np.where(np.eye(num_classes, dtype=bool)[p[sure].argmax(axis=1)], 0.0, -np.inf)
    c = data.draw(st.integers(0, num_classes - 1))
    offsets = np.array(
        data.draw(st.lists(st.sampled_from([-0.7, 0.0, 0.31]), min_size=num_classes, max_size=num_classes))
    )
    steps, counts = along(targets, log_p, offsets, c)
    scores = np.nan_to_num(AVERAGES[name](counts), nan=-np.inf)
    for offset, score in zip(steps, scores, strict=True):
        moved = log_p + offsets
        moved[:, c] = log_p[:, c] + offset
        assert score == pytest.approx(average(name, targets, moved.argmax(axis=1), num_classes), abs=1e-9)


def test_of_very_many_steps_an_even_part_is_taken(monkeypatch):
    targets, p, _ = imbalanced(1000, 6, seed=1)
    every, _ = along(targets, np.log(p), np.zeros(6), 2)
    monkeypatch.setattr("matcard.evaluation.choice._MOST_COUNTS", 600)
    some, counts = along(targets, np.log(p), np.zeros(6), 2)
    assert some.tolist() == every[::11].tolist()
    for k in (0, len(some) // 2, len(some) - 1):
        moved = np.log(p)
        moved[:, 2] += some[k]
        called = np.bincount(moved.argmax(axis=1), minlength=6)
        assert counts.called[k].tolist() == called.tolist()


def test_counts_of_the_class():
    targets, p, _ = imbalanced(300, 4, seed=2)
    steps, counts = along(targets, np.log(p), np.zeros(4), 1)
    hits, support, called = (numbers[:, 1] for numbers in counts)
    for k in range(0, len(steps), 37):
        moved = np.log(p)
        moved[:, 1] += steps[k]
        is_called = moved.argmax(axis=1) == 1
        assert (hits[k], support[k], called[k]) == (
            (is_called & (targets == 1)).sum(),
            (targets == 1).sum(),
            is_called.sum(),
        )
