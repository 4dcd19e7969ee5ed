"""Class shares that are not those of training: the shift, the correction, the estimate."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from matcard.errors import InputError
from matcard.evaluation.priors import estimate_priors, share_shift, with_priors
from matcard.evaluation.thresholds import prior_adjusted

few = settings(deadline=None, max_examples=30)


def mixture(n, shares, seed):
    """Draw from two overlapping normal distributions; give targets and the true posterior under equal shares."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < shares[1]).astype(int)
    x = rng.normal(size=n) + 2.0 * targets
    odds = np.exp(2 * x - 2)
    return targets, np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)


@few
@given(predictions(), st.integers(0, 10**6))
def test_the_correction_is_bayes_rule_sample_by_sample(case, seed):
    _, p = case
    p = 0.9 * p + 0.1 / p.shape[1]
    old, new = np.random.default_rng(seed).uniform(0.1, 1, (2, p.shape[1]))
    got = with_priors(p, old, new)
    for row, corrected in zip(p, got, strict=True):
        weighted = [q * (b / new.sum()) / (a / old.sum()) for q, a, b in zip(row, old, new, strict=True)]
        np.testing.assert_allclose(corrected, np.array(weighted) / sum(weighted))


@few
@given(predictions(), st.integers(0, 10**6))
def test_its_most_likely_class_is_the_prior_adjusted_decision(case, seed):
    _, p = case
    p = 0.9 * p + 0.1 * np.random.default_rng(seed + 1).dirichlet(np.ones(p.shape[1]), len(p))  # no ties
    old, new = np.random.default_rng(seed).uniform(0.1, 1, (2, p.shape[1]))
    decision = prior_adjusted([f"c{k}" for k in range(p.shape[1])], old, new)
    np.testing.assert_array_equal(with_priors(p, old, new).argmax(axis=1), decision.apply(p))


def test_unchanged_shares_change_nothing():
    _, p = mixture(50, (0.5, 0.5), 0)
    np.testing.assert_allclose(with_priors(p, np.array([3, 1]), np.array([30, 10])), p)


def test_a_class_without_either_share_keeps_its_probability():
    p = np.array([[0.5, 0.3, 0.2]])
    np.testing.assert_allclose(with_priors(p, np.array([1, 1, 0]), np.array([1, 1, 0])), p)


@pytest.mark.parametrize("rare", [0.02, 0.1, 0.5, 0.9])
def test_the_estimate_finds_the_shares(rare):
    _, p = mixture(20_000, (1 - rare, rare), seed=1)
    assert estimate_priors(p, np.array([500, 500]))[1] == pytest.approx(rare, abs=0.02)


def test_the_estimate_is_a_fixed_point_and_as_likely_as_any():
    _, p = mixture(500, (0.7, 0.3), seed=2)
    old = np.array([0.5, 0.5])
    shares = estimate_priors(p, old)
    np.testing.assert_allclose(with_priors(p, old, shares).mean(axis=0), shares, atol=1e-6)
    likelihood = {s: np.log(p @ (np.array([1 - s, s]) / old)).sum() for s in np.linspace(0.01, 0.99, 99)}
    assert np.log(p @ (shares / old)).sum() >= max(likelihood.values()) - 1e-6


def test_a_class_that_training_had_not_has_no_share():
    shares = estimate_priors(np.array([[0.6, 0.3, 0.1]] * 5), np.array([5, 5, 0]))
    assert shares[2] == 0.0
    assert shares.sum() == pytest.approx(1.0)


def test_the_shift_is_that_of_scipy_and_of_half_the_differences():
    old, new = np.array([800, 150, 50]), np.array([30, 40, 30])
    shift = share_shift(old, new)
    test = chi2_contingency([old, new], correction=False)
    assert shift.chi_square == pytest.approx(test.statistic)
    assert shift.p_value == pytest.approx(test.pvalue)
    assert shift.total_variation == pytest.approx((0.5 + 0.25 + 0.25) / 2)


def test_classes_that_are_nowhere_do_not_count():
    assert share_shift(np.array([10, 10, 0]), np.array([10, 10, 0])).chi_square == pytest.approx(0.0)
    assert share_shift(np.array([10, 0]), np.array([4, 0])) == (0.0, 0.0, 1.0)


def test_same_shares_are_seldom_told_apart():
    rng = np.random.default_rng(3)
    p_values = [
        share_shift(np.array([700, 200, 100]), rng.multinomial(300, [0.7, 0.2, 0.1])).p_value for _ in range(400)
    ]
    assert np.mean(np.array(p_values) < 0.05) < 0.08


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([1, 0], [1, 1], "no training sample"),
        ([1, 1, 1], [1, 1], "one count a class"),
        ([1, 1], [0, 0], "not all zero"),
        ([1, 1], [1, -1], "must be counts"),
    ],
)
def test_shares_that_do_not_fit(old, new, said):
    with pytest.raises(InputError, match=said):
        with_priors(np.array([[0.4, 0.6]]), np.array(old), np.array(new))


def test_a_sample_without_any_class_left():
    with pytest.raises(InputError, match="give such classes a small share"):
        with_priors(np.array([[1.0, 0.0]]), np.array([1, 1]), np.array([0, 1]))
