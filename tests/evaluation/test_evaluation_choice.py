"""The decision rule that a run's options ask for."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import imbalanced, names
from sklearn.metrics import f1_score, precision_score, recall_score

from matcard.errors import InputError
from matcard.evaluation import best_score
from matcard.evaluation.choice import check_decision, choose_decision, positive_class, read_costs
from matcard.evaluation.options import DecisionOptions
from matcard.evaluation.thresholds import at_threshold, by_cost, mean_decision

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
    assert positive_class(DecisionOptions(rule="best_f1", positive=positive), NAMES, COUNTS) == NAMES[c]
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
        ({"rule": "target_precision", "target": 0.0}, "expected a number above 0, at most 1"),
        ({"rule": "target_recall", "target": 1.5}, "expected a number above 0, at most 1"),
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
