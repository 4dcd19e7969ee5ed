"""Temperature and bias: what a reweighting loss does to probabilities is undone, and shares can be estimated again."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import imbalanced
from scipy.optimize import minimize

from matcard.errors import InputError
from matcard.evaluation.bias_corrected import BiasCorrected, fit_bias_corrected
from matcard.evaluation.calibration import fit_temperature, log_loss
from matcard.evaluation.priors import estimate_priors, with_priors


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
    fitted = fit_bias_corrected(targets, said)
    assert fitted.temperature == pytest.approx(2.0, rel=0.1)
    assert np.abs(fitted.apply(said) - true).mean() < 0.01
    assert np.abs(fit_temperature(targets, said).apply(said) - true).mean() > 0.1


def test_estimated_shares_go_astray_without_it_and_not_with_it():
    targets, _, said = reweighted(5000, 1)
    fitted = fit_bias_corrected(targets, said)
    _, _, new = reweighted(5000, 2, shares=(0.9, 0.1))
    train = np.array([9000, 1000])
    assert estimate_priors(fitted.apply(new), train)[1] == pytest.approx(0.1, abs=0.02)
    assert abs(estimate_priors(fit_temperature(targets, said).apply(new), train)[1] - 0.1) > 0.05


def test_it_is_the_minimum_that_another_search_finds():
    targets, p, _ = imbalanced(400, 3, seed=3)
    fitted = fit_bias_corrected(targets, p)

    def loss(parameters):
        changed = BiasCorrected(float(np.exp(parameters[0])), tuple(parameters[1:] - parameters[1:].mean()))
        return log_loss(targets, changed.apply(p))

    found = minimize(loss, np.zeros(4), method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-9})
    assert log_loss(targets, fitted.apply(p)) == pytest.approx(found.fun, abs=1e-4)
    assert sum(fitted.bias) == pytest.approx(0.0, abs=1e-12)


def test_its_mean_is_the_share_of_each_class():
    targets, p, _ = imbalanced(2000, 4, seed=4)
    shares = np.bincount(targets, minlength=4) / len(targets)
    np.testing.assert_allclose(fit_bias_corrected(targets, p).apply(p).mean(axis=0), shares, atol=2e-3)


@pytest.mark.parametrize("targets", [[0, 1, 0, 1], [0, 0, 0, 0]])
def test_perfect_predictions_and_absent_classes_stay_finite(targets):
    p = np.eye(3)[targets] * 0.9 + 0.1 / 3
    fitted = fit_bias_corrected(np.array(targets), p)
    assert np.isfinite([fitted.temperature, *fitted.bias]).all()
    assert fitted.apply(p).argmax(axis=1).tolist() == targets


def test_malformed_input():
    with pytest.raises(InputError, match="must sum to one"):
        fit_bias_corrected(np.array([0]), np.array([[0.2, 0.2]]))
    with pytest.raises(InputError, match="must have shape"):
        BiasCorrected(1.0, (0.0, 0.0)).apply(np.ones((1, 3)) / 3)
