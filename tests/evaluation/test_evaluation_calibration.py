from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from evaluation_cases import imbalanced, predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import chi2_contingency
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as log_loss_oracle
from torchmetrics.functional.classification import multiclass_calibration_error

from matcard.errors import InputError
from matcard.evaluation.calibration import (
    Calibration,
    brier,
    estimate_priors,
    fit_calibration,
    log_loss,
    reliability,
    share_shift,
    with_priors,
)
from matcard.evaluation.decision import prior_adjusted
from matcard.files import tuples

few = settings(deadline=None, max_examples=40)


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("bins", [5, 15])
def test_ece_is_torchmetrics(num_classes, bins):
    targets, probabilities, _ = imbalanced(500, num_classes)
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(targets), num_classes=num_classes, n_bins=bins, norm="l1"
    )
    assert reliability(targets, probabilities, bins).ece == pytest.approx(expected.item(), abs=1e-6)


@few
@given(predictions())
def test_reliability_by_hand(case):
    targets, probabilities = case
    bins = reliability(targets, probabilities, 4)
    right = probabilities.argmax(axis=1) == targets
    confidence = probabilities.max(axis=1)
    for index in range(4):
        inside = (confidence > index / 4) & (confidence <= (index + 1) / 4)
        assert bins.total[index] == inside.sum()
        if inside.any():
            assert bins.accuracy[index] == pytest.approx(right[inside].mean())
            assert bins.confidence[index] == pytest.approx(confidence[inside].mean())
        else:
            assert math.isnan(bins.accuracy[index])
    assert bins.total.sum() == len(targets)


def test_brier_is_scikit_learns():
    targets, probabilities, _ = imbalanced(num_classes=2)
    assert brier(targets, probabilities) == pytest.approx(2 * brier_score_loss(targets, probabilities[:, 1]))
    targets, probabilities, _ = imbalanced(num_classes=4)
    one_against_rest = [brier_score_loss(targets == c, probabilities[:, c]) for c in range(4)]
    assert brier(targets, probabilities) == pytest.approx(sum(one_against_rest))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_of_a_certain_mistake_is_finite_as_in_scikit_learn(dtype):
    targets = np.array([0, 1, 1])
    probabilities = np.array([[0.0, 1.0], [0.2, 0.8], [0.0, 1.0]], dtype=dtype)
    assert log_loss(targets, probabilities) == pytest.approx(log_loss_oracle(targets, probabilities), rel=1e-5)


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_temperature_is_recovered(true_temperature):
    rng = np.random.default_rng(1)
    logits = 2 * rng.normal(size=(20_000, 3))
    cumulative = np.cumsum(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), axis=1)
    targets = (rng.random((20_000, 1)) > cumulative).sum(axis=1)
    shown = np.exp(logits * true_temperature)
    shown /= shown.sum(axis=1, keepdims=True)
    fitted = fit_calibration(targets, shown)
    assert fitted.temperature == pytest.approx(true_temperature, rel=0.05)
    assert log_loss(targets, fitted.apply(shown)) <= log_loss(targets, shown)
    assert reliability(targets, fitted.apply(shown)).ece < 0.01


def test_temperature_is_the_minimum_and_keeps_the_order():
    targets, probabilities, _ = imbalanced(signal=0.5)
    probabilities = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    fitted = fit_calibration(targets, probabilities)
    after = fitted.apply(probabilities)
    for factor in np.linspace(0.5, 2, 31):
        other = Calibration(fitted.temperature * factor)
        assert log_loss(targets, other.apply(probabilities)) >= log_loss(targets, after) - 1e-9
    assert (after.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert after.sum(axis=1) == pytest.approx(1)


def test_temperature_one_changes_nothing_and_zeros_are_finite():
    probabilities = np.array([[0.0, 1.0], [0.25, 0.75]], dtype=np.float32)
    assert Calibration(1).apply(probabilities) == pytest.approx(probabilities)
    assert np.isfinite(Calibration(9).apply(probabilities)).all()


@pytest.mark.parametrize("biased", [False, True])
def test_predictions_that_are_all_right_settle_nothing(biased):
    targets, probabilities = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    fitted = fit_calibration(targets, probabilities, biased=biased)
    assert fitted.apply(probabilities) == pytest.approx(probabilities)


def test_predictions_that_mislead_are_flattened():
    fitted = fit_calibration(np.array([1, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert fitted.temperature == pytest.approx(50, rel=1e-3)


def test_it_travels_as_plain_values():
    targets, probabilities, _ = imbalanced(60)
    for biased in (False, True):
        fitted = fit_calibration(targets, probabilities, biased=biased)
        assert Calibration(**tuples(json.loads(json.dumps(asdict(fitted))))) == fitted


def test_malformed_probabilities_are_refused():
    with pytest.raises(InputError, match="rows 1 "):
        fit_calibration(np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 1.0]]))
    with pytest.raises(InputError, match="sum to one"):
        Calibration(1).apply(np.array([[0.5, 0.1]]))


def reweighted(n, seed, shares=(0.9, 0.1), temperature=0.5):
    """Give targets, true posteriors, and what a network trained on equal shares and overconfident would say."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < shares[1]).astype(int)
    x = rng.normal(size=n) + 2.0 * targets
    odds = np.exp(2 * x - 2) * shares[1] / shares[0]
    true = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)
    said = with_priors(true, np.array(shares), np.array([0.5, 0.5])) ** (1 / temperature)
    return targets, true, said / said.sum(axis=1, keepdims=True)


def test_it_gives_the_true_posterior_back():
    targets, true, said = reweighted(20_000, 0)
    fitted = fit_calibration(targets, said, biased=True)
    assert fitted.temperature == pytest.approx(2.0, rel=0.1)
    assert np.abs(fitted.apply(said) - true).mean() < 0.01
    assert np.abs(fit_calibration(targets, said).apply(said) - true).mean() > 0.1


def test_estimated_shares_go_astray_without_it_and_not_with_it():
    targets, _, said = reweighted(5000, 1)
    fitted = fit_calibration(targets, said, biased=True)
    _, _, new = reweighted(5000, 2, shares=(0.9, 0.1))
    train = np.array([9000, 1000])
    assert estimate_priors(fitted.apply(new), train)[1] == pytest.approx(0.1, abs=0.02)
    assert abs(estimate_priors(fit_calibration(targets, said).apply(new), train)[1] - 0.1) > 0.05


def test_it_is_the_minimum_that_another_search_finds():
    targets, p, _ = imbalanced(400, 3, seed=3)
    fitted = fit_calibration(targets, p, biased=True)

    def loss(parameters):
        changed = Calibration(float(np.exp(parameters[0])), tuple(parameters[1:] - parameters[1:].mean()))
        return log_loss(targets, changed.apply(p))

    found = minimize(loss, np.zeros(4), method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-9})
    assert log_loss(targets, fitted.apply(p)) == pytest.approx(found.fun, abs=1e-4)
    assert sum(fitted.bias) == pytest.approx(0.0, abs=1e-12)


def test_its_mean_is_the_share_of_each_class():
    targets, p, _ = imbalanced(2000, 4, seed=4)
    shares = np.bincount(targets, minlength=4) / len(targets)
    np.testing.assert_allclose(fit_calibration(targets, p, biased=True).apply(p).mean(axis=0), shares, atol=2e-3)


@pytest.mark.parametrize("targets", [[0, 1, 0, 1], [0, 0, 0, 0]])
def test_perfect_predictions_and_absent_classes_stay_finite(targets):
    p = np.eye(3)[targets] * 0.9 + 0.1 / 3
    fitted = fit_calibration(np.array(targets), p, biased=True)
    assert np.isfinite([fitted.temperature, *fitted.bias]).all()
    assert fitted.apply(p).argmax(axis=1).tolist() == targets


def test_malformed_input():
    with pytest.raises(InputError, match="sum to one"):
        fit_calibration(np.array([0]), np.array([[0.2, 0.2]]), biased=True)
    with pytest.raises(InputError, match="must have shape"):
        Calibration(1.0, (0.0, 0.0)).apply(np.ones((1, 3)) / 3)


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
    assert shift["chi_square"] == pytest.approx(test.statistic)
    assert shift["p_value"] == pytest.approx(test.pvalue)
    assert shift["total_variation"] == pytest.approx((0.5 + 0.25 + 0.25) / 2)


def test_classes_that_are_nowhere_do_not_count():
    assert share_shift(np.array([10, 10, 0]), np.array([10, 10, 0]))["chi_square"] == pytest.approx(0.0)
    one_class = {"total_variation": 0.0, "chi_square": 0.0, "p_value": 1.0}
    assert share_shift(np.array([10, 0]), np.array([4, 0])) == one_class


def test_same_shares_are_seldom_told_apart():
    rng = np.random.default_rng(3)
    p_values = [
        share_shift(np.array([700, 200, 100]), rng.multinomial(300, [0.7, 0.2, 0.1]))["p_value"] for _ in range(400)
    ]
    assert np.mean(np.array(p_values) < 0.05) < 0.08


def test_a_class_that_training_lacks_has_no_share():
    with pytest.raises(InputError, match="no training sample"):
        with_priors(np.array([[0.4, 0.6]]), np.array([1, 0]), np.array([1, 1]))


def test_a_sample_without_any_class_left():
    with pytest.raises(InputError, match="give such classes a small share"):
        with_priors(np.array([[1.0, 0.0]]), np.array([1, 1]), np.array([0, 1]))
