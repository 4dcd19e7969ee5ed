from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix as oracle

from matcard.evaluation.confusion import (
    confusion_averages,
    confusion_matrix,
    masked_mean,
    minority_mask,
    ratio,
    shot_recall,
)

few = settings(deadline=None, max_examples=50)


@few
@given(predictions())
def test_confusion_is_scikit_learns(case):
    targets, probabilities = case
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    got = confusion_matrix(targets, predicted, num_classes)
    assert (got == oracle(targets, predicted, labels=range(num_classes))).all()


@few
@given(st.integers(2, 5).flatmap(lambda c: hnp.arrays(np.int64, (2, 3, c, c), elements=st.integers(0, 4))))
def test_leading_dimensions_are_independent(stack):
    minority = np.arange(stack.shape[-1]) > 0
    together = confusion_averages(stack, minority)
    for index in np.ndindex(2, 3):
        for name, value in confusion_averages(stack[index], minority).items():
            assert together[name][index] == pytest.approx(float(value), nan_ok=True), name


def test_ratio_and_mean_of_nothing_are_nan():
    assert np.isnan(ratio(np.array(0), np.array(0)))
    assert np.isnan(masked_mean(np.array([1.0, 2.0]), np.array([False, False])))
    assert masked_mean(np.array([np.nan, 2.0]), np.array([False, True])) == 2


@few
@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=9).filter(any))
def test_minority_is_a_share_below_one_over_c(counts):
    got = minority_mask(np.array(counts, dtype=float))
    for count, rare in zip(counts, got, strict=True):
        assert rare == (count * len(counts) < sum(counts))
    assert not got.all()


@pytest.mark.parametrize("num_classes", [3, 7, 49])
def test_equal_counts_are_no_minority_despite_rounding(num_classes):
    assert not minority_mask(np.full(num_classes, 1.0)).any()


@few
@given(st.lists(st.integers(0, 200), min_size=2, max_size=8).filter(any))
def test_every_class_is_in_one_group(counts):
    got = shot_recall(np.eye(len(counts), dtype=int), np.array(counts))
    assert sum(group["classes"] for group in got.values()) == len(counts)
    assert got["few"]["classes"] == sum(count < 20 for count in counts)
    assert got["many"]["classes"] == sum(count > 100 for count in counts)
