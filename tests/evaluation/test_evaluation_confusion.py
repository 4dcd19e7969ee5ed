from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix as oracle

from matcard.evaluation.confusion import confusion_averages, confusion_matrix, masked_mean, ratio

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
