from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binom, binomtest

from matcard.errors import InputError
from matcard.evaluation.confusion import successes, wilson, wilson_bounds, wilson_f1
from matcard.evaluation.statistics import compare_ranks, corrected_t_test, holm, t_interval

few = settings(deadline=None, max_examples=50)
counts = st.integers(0, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@few
@given(counts.filter(lambda kn: kn[1] > 0))
@example((0, 7))
@example((7, 7))
def test_wilson_is_scipys(kn):
    got = wilson(*kn)
    expected = binomtest(*kn).proportion_ci(0.95, method="wilson")
    assert (got["low"], got["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert got["value"] == kn[0] / kn[1]
    assert got["n"] == kn[1]


@few
@given(counts.filter(lambda kn: 0 < kn[0] < kn[1]))
def test_bounds_solve_the_score_equation(kn):
    k, n = kn
    z = NormalDist().inv_cdf(0.975)
    for x in (wilson(k, n)["low"], wilson(k, n)["high"]):
        assert abs(k / n - x) == pytest.approx(z * math.sqrt(x * (1 - x) / n), rel=1e-7)


@few
@given(counts)
def test_mirrored_counts_give_the_mirrored_interval(kn):
    k, n = kn
    one, other = wilson(k, n), wilson(n - k, n)
    assert one["low"] == pytest.approx(1 - other["high"], abs=1e-12, nan_ok=True)


def test_no_case_no_interval():
    got = wilson(0, 0)
    assert got["n"] == 0
    assert all(math.isnan(got[key]) for key in ("value", "low", "high"))


@few
@given(counts)
@example((57, 100))
def test_successes_come_back_despite_rounding(kn):
    assert successes(wilson(*kn)) == kn[0]


def test_ends_are_exact():
    assert wilson(0, 5)["low"] == 0.0
    assert wilson(5, 5)["high"] == 1.0


def test_bounds_broadcast():
    k = np.array([[0, 3], [4, 0]])
    n = np.array([[5, 4], [4, 0]])
    low, high = wilson_bounds(k, n)
    for index in np.ndindex(2, 2):
        one = wilson(int(k[index]), int(n[index]))
        assert (low[index], high[index]) == pytest.approx((one["low"], one["high"]), nan_ok=True)


@few
@given(st.integers(0, 500), st.integers(0, 500))
def test_f1_is_carried_over_from_jaccard(hits, errors):
    got = wilson_f1(hits, errors)
    if hits + errors == 0:
        assert math.isnan(got["value"])
        return
    assert got["value"] == pytest.approx(2 * hits / (2 * hits + errors))
    assert got["low"] <= got["value"] + 1e-12
    assert got["value"] <= got["high"] + 1e-12
    jaccard = wilson(hits, hits + errors)
    for key in ("low", "high"):
        assert got[key] / (2 - got[key]) == pytest.approx(jaccard[key])


def test_wilson_covers_what_it_says():
    """Exact coverage over all outcomes, averaged over proportions: close to 95 %, never far below."""
    n = 30
    intervals = [wilson(k, n) for k in range(n + 1)]
    covered = []
    for p in np.linspace(0.02, 0.98, 97):
        inside = [k for k, interval in enumerate(intervals) if interval["low"] <= p <= interval["high"]]
        covered.append(binom.pmf(inside, n, p).sum())
    assert 0.94 < np.mean(covered) < 0.965
    assert min(covered) > 0.83


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


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    sample = rng.normal(0.0, 0.02, 30)
    zeros = [0.0] * 30
    # Of the size that is detectable for a deviation of .02, drawn anew each time.
    error = 0.02 / math.sqrt(30)
    size = corrected_t_test(sample, zeros, 0.0).detectable / (np.std(sample, ddof=1) / math.sqrt(30)) * error
    found = [corrected_t_test(rng.normal(size, 0.02, 30), zeros, 0.0).p < 0.05 for _ in range(2000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)
    plain, corrected = (corrected_t_test(sample, zeros, ratio) for ratio in (0.0, 15 / 70))
    assert corrected.detectable / plain.detectable == pytest.approx(math.sqrt(1 + 30 * 15 / 70))
    assert plain.detectable > plain.high - plain.mean


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
