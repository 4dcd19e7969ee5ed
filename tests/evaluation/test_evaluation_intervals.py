from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from matcard.errors import InputError
from matcard.evaluation.intervals import successes, wilson, wilson_bounds, wilson_f1

few = settings(deadline=None, max_examples=50)
counts = st.integers(0, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@few
@given(counts.filter(lambda kn: kn[1] > 0), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@example((0, 7), 0.95)
@example((7, 7), 0.95)
def test_wilson_is_scipys(kn, level):
    got = wilson(*kn, level)
    expected = binomtest(*kn).proportion_ci(level, method="wilson")
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


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_level_is_a_share(level):
    with pytest.raises(InputError, match=r"\(0, 1\)"):
        wilson(1, 2, level)


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
