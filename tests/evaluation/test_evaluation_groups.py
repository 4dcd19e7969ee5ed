from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.evaluation.groups import minority_mask, shot_recall

few = settings(deadline=None, max_examples=50)


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
