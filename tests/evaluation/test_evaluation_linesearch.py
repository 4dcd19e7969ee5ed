"""The line search, step by step against predictions that are made anew at each offset."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import imbalanced, predictions
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.evaluation.confusion import Counts, confusion_averages, confusion_matrix
from matcard.evaluation.linesearch import OBJECTIVES, Line

few = settings(deadline=None, max_examples=40)


def average(name, targets, predicted, num_classes):
    averages = confusion_averages(confusion_matrix(targets, predicted, num_classes), np.ones(num_classes, dtype=bool))
    return float(np.nan_to_num(averages[name], nan=-np.inf))


@few
@given(predictions(), st.sampled_from(sorted(OBJECTIVES)), st.data())
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
    line = Line.along(targets, log_p, offsets, c)
    scores = line.scores(OBJECTIVES[name], num_classes)
    for offset, score in zip(line.offset, scores, strict=True):
        moved = log_p + offsets
        moved[:, c] = log_p[:, c] + offset
        assert score == pytest.approx(average(name, targets, moved.argmax(axis=1), num_classes), abs=1e-9)


@few
@given(predictions(), st.sampled_from(sorted(OBJECTIVES)))
def test_an_objective_of_counts_is_the_average_of_the_same_name(case, name):
    targets, p = case
    predicted = p.argmax(axis=1)
    counts = Counts.of(confusion_matrix(targets, predicted, p.shape[1]))
    assert OBJECTIVES[name].of(counts) == pytest.approx(average(name, targets, predicted, p.shape[1]))


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_ten_thousand_steps_add_no_error(name):
    targets, p, _ = imbalanced(10_000, 6, seed=1)
    line = Line.along(targets, np.log(p), np.zeros(6), 2)
    scores = line.scores(OBJECTIVES[name], 6)
    for k in (0, len(scores) // 2, len(scores) - 1):
        moved = np.log(p)
        moved[:, 2] += line.offset[k]
        assert scores[k] == pytest.approx(average(name, targets, moved.argmax(axis=1), 6), abs=1e-11)


def test_counts_of_the_class():
    targets, p, _ = imbalanced(300, 4, seed=2)
    line = Line.along(targets, np.log(p), np.zeros(4), 1)
    hits, support, called = line.of_class()
    for k in range(0, len(line.offset), 37):
        moved = np.log(p)
        moved[:, 1] += line.offset[k]
        is_called = moved.argmax(axis=1) == 1
        assert (hits[k], support[k], called[k]) == (
            (is_called & (targets == 1)).sum(),
            (targets == 1).sum(),
            is_called.sum(),
        )
