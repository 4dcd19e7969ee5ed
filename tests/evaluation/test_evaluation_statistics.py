"""Tests over seeds and over data sets, against scipy, a calculation by hand and published examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from matcard.errors import InputError
from matcard.evaluation.statistics import compare_ranks, corrected_t_test, holm, t_interval

values = st.lists(st.floats(0, 1), min_size=3, max_size=12)

DEMSAR = """
0.763 0.768 0.771 0.798
0.599 0.591 0.590 0.569
0.954 0.971 0.968 0.967
0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898
0.936 0.931 0.916 0.931
0.661 0.668 0.609 0.685
0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875
1.000 1.000 1.000 1.000
0.940 0.962 0.965 0.962
0.619 0.666 0.614 0.669
0.972 0.981 0.97501 0.975
0.957 0.978 0.946 0.970
"""
"""AUC of C4.5 and three variants on 14 data sets (Demsar 2006, table 6; two of them differ before rounding)."""


@settings(deadline=None, max_examples=30)
@given(values)
def test_the_interval_is_students(sample):
    found = t_interval(sample)
    assert found.mean == pytest.approx(np.mean(sample))
    if np.ptp(sample) > 1e-6:
        low, high = stats.t.interval(0.95, len(sample) - 1, np.mean(sample), stats.sem(sample))
        assert (found.low, found.high) == pytest.approx((low, high))


def test_one_value_has_no_interval():
    assert t_interval([0.5])[0] == 0.5
    assert all(map(math.isnan, t_interval([0.5])[1:]))
    assert all(map(math.isnan, t_interval([])))
    assert all(map(math.isnan, t_interval([0.1, math.nan, 0.3])))


@settings(deadline=None, max_examples=30)
@given(values, st.integers(0, 1000))
def test_without_a_test_part_it_is_the_plain_paired_test(sample, seed):
    other = np.random.default_rng(seed).random(len(sample))
    found = corrected_t_test(sample, other.tolist(), 0.0)
    assert found.p == pytest.approx(stats.ttest_rel(sample, other).pvalue)


def test_the_correction_by_hand():
    # Differences .01 .03 .02 .04: mean .025, variance 1/6000, error sqrt((1/4 + 3/14) / 6000).
    found = corrected_t_test([0.51, 0.63, 0.72, 0.84], [0.5, 0.6, 0.7, 0.8], 0.15 / 0.7)
    error = math.sqrt((1 / 4 + 3 / 14) / 6000)
    assert found.mean == pytest.approx(0.025)
    assert found.p == pytest.approx(2 * stats.t.sf(0.025 / error, 3))
    assert found.high - found.mean == pytest.approx(3.182446305 * error)
    assert found.low < found.mean < found.high


@settings(deadline=None, max_examples=30)
@given(values, st.integers(0, 1000), st.floats(0.01, 2))
def test_the_correction_makes_it_harder(sample, seed, ratio):
    other = np.random.default_rng(seed).random(len(sample)).tolist()
    plain, corrected = (corrected_t_test(sample, other, r) for r in (0.0, ratio))
    assert corrected.p >= plain.p
    swapped = corrected_t_test(other, sample, ratio)
    assert swapped.p == pytest.approx(corrected.p)
    assert swapped.mean == pytest.approx(-corrected.mean)


def test_what_cannot_be_judged():
    assert math.isnan(corrected_t_test([0.5], [0.4], 0.2).p)
    assert math.isnan(corrected_t_test([0.75, 0.75], [0.5, 0.5], 0.2).p), "no variance to judge it by"
    assert math.isnan(corrected_t_test([0.8, 0.9, 0.4], [0.7, 0.8, 0.3], 0.2).p), "the same but for rounding"
    assert corrected_t_test([0.5, 0.6], [0.5, 0.6], 0.2).p == 1.0
    assert math.isnan(corrected_t_test([0.5, math.nan], [0.5, 0.6], 0.2).mean)
    with pytest.raises(InputError, match="same seeds"):
        corrected_t_test([0.5, 0.6], [0.5], 0.2)


def test_holm_by_hand():
    # Sorted .005 .011 .02 .04 .13 times 5 4 3 2 1: .025 .044 .06 .08 .13.
    assert holm([0.02, 0.13, 0.005, 0.04, 0.011]) == pytest.approx([0.06, 0.13, 0.025, 0.08, 0.044])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    mixed = holm([0.03, math.nan, 0.01])
    assert mixed[0] == pytest.approx(0.03)
    assert mixed[2] == pytest.approx(0.02)
    assert math.isnan(mixed[1])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_by_its_definition(p):
    corrected = holm(p)
    order = np.argsort(p, kind="stable")
    for place, index in enumerate(order):
        steps = [(len(p) - j) * p[order[j]] for j in range(place + 1)]
        assert corrected[index] == pytest.approx(min(1.0, max(steps)))


def test_demsars_example():
    table = np.array([line.split() for line in DEMSAR.split("\n") if line], dtype=float)
    found = compare_ranks(table)
    assert found.mean == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    # F of 3.69 with 3 and 39 degrees of freedom.
    assert found.friedman_p == pytest.approx(stats.f.sf(3.69, 3, 39), abs=5e-4)
    assert compare_ranks(table, 0.9).critical_difference == pytest.approx(1.12, abs=5e-3)


def test_friedman_without_ties_follows_scipys():
    table = np.random.default_rng(0).random((9, 4))
    chi2 = stats.friedmanchisquare(*table.T).statistic
    expected = stats.f.sf(8 * chi2 / (9 * 3 - chi2), 3, 24)
    assert compare_ranks(table).friedman_p == pytest.approx(expected)


def test_ranks_that_are_all_the_same():
    assert compare_ranks(np.tile([0.1, 0.2, 0.3], (6, 1))).friedman_p == 0.0
    for bad in (np.ones((1, 3)), np.ones((3, 1)), np.array([[0.1, np.nan], [0.2, 0.3]])):
        with pytest.raises(InputError, match="two of each"):
            compare_ranks(bad)
