"""The predicted number: its error by scikit-learn, and the classes it speaks for."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import logistic
from sklearn.metrics import log_loss, mean_absolute_error, r2_score, root_mean_squared_error

from matcard.evaluation.value import ValueMix, value_metrics
from matcard.files import tuples

SEEDS = st.integers(0, 2**31)


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 40), SEEDS)
def test_errors_as_scikit_learn_has_them(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    true, predicted = generator.normal(size=n), generator.normal(size=n)
    with_missing = np.concatenate([true, [np.nan, np.nan]])
    found = value_metrics(with_missing, np.concatenate([predicted, [0.0, 5.0]]))
    assert found["mae"] == pytest.approx(mean_absolute_error(true, predicted))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(true, predicted))
    assert found["r2"] == pytest.approx(r2_score(true, predicted))
    assert found["values"] == n


def test_errors_that_are_undefined() -> None:
    nothing = value_metrics(np.array([np.nan]), np.array([1.0]))
    assert nothing["values"] == 0
    assert all(np.isnan(nothing[name]) for name in ("mae", "rmse", "r2"))
    constant = value_metrics(np.array([2.0, 2.0]), np.array([1.0, 2.0]))
    assert constant["mae"] == 0.5
    assert np.isnan(constant["r2"])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=4, unique=True).map(sorted),
    st.floats(-2, 2),
    st.floats(0.05, 5),
    st.lists(st.floats(-50, 50), min_size=1, max_size=10),
)
def test_the_probability_of_each_interval(
    edges: list[float], shift: float, width: float, predicted: list[float]
) -> None:
    x = np.array(predicted)
    cdf = logistic.cdf((np.array([-np.inf, *edges, np.inf]) - x[:, None] - shift) / width)
    mix = ValueMix(tuple(edges), tuple(range(len(edges) + 1)), shift, width, 1.0)
    np.testing.assert_allclose(mix.of_number(x), np.diff(cdf, axis=1), atol=1e-9)
    np.testing.assert_allclose(mix.of_number(x).sum(axis=1), 1)
    # A class may have two intervals, as outside of a window.
    if len(edges) == 2:
        window = ValueMix(tuple(edges), (0, 1, 0), shift, width, 1.0).of_number(x)
        np.testing.assert_allclose(window[:, 1], np.diff(cdf, axis=1)[:, 1], atol=1e-9)


def test_the_ranking_of_far_numbers_is_kept() -> None:
    """Probabilities near 0 and 1 stay apart where a difference of two distribution functions would be 0."""
    logs = ValueMix((3.0, 4.0), (0, 1, 2), 0.0, 0.1, 1.0).logs(np.array([-40.0, -20.0, 0.0, 20.0, 40.0]))
    assert np.isfinite(logs).all()
    assert (np.diff(logs[:, 2]) > 0).all()
    assert (np.diff(logs[:, 0]) < 0).all()


def sample(n: int, seed: int, error: float, sharpness: float) -> tuple[np.ndarray, ...]:
    """Numbers with a logistic error, and a class head that knows the true number less or more well."""
    generator = np.random.default_rng(seed)
    predicted = generator.normal(0, 2, n)
    true = predicted + generator.logistic(-0.3, error, n)
    seen = true + generator.logistic(0, 1 / sharpness, n)
    high = logistic.cdf((seen - 1) * sharpness)
    return predicted, np.stack([1 - high, high], axis=1), (true >= 1).astype(int)


def test_the_error_is_found() -> None:
    predicted, probabilities, targets = sample(40_000, 0, error=0.5, sharpness=1.0)
    mix = ValueMix.fit((1.0,), (0, 1), predicted, probabilities, targets)
    assert mix.width == pytest.approx(0.5, rel=0.05)
    assert mix.shift == pytest.approx(-0.3, abs=0.03)


@pytest.mark.parametrize(("error", "sharpness", "least", "most"), [(0.1, 0.3, 0.9, 1.0), (5.0, 20.0, 0.0, 0.1)])
def test_the_weight_goes_to_who_knows_more(error: float, sharpness: float, least: float, most: float) -> None:
    mix = ValueMix.fit((1.0,), (0, 1), *sample(4000, 1, error, sharpness))
    assert least <= mix.weight <= most


@settings(deadline=None, max_examples=10)
@given(SEEDS, st.floats(0.05, 3), st.floats(0.1, 5))
def test_the_mix_is_no_worse_than_either_on_what_it_was_chosen_on(seed: int, error: float, sharpness: float) -> None:
    """The mean over the posterior costs log(weights) / n at most, as the loss is convex and the evidence a mean."""
    predicted, probabilities, targets = sample(300, seed, error, sharpness)
    mix = ValueMix.fit((1.0,), (0, 1), predicted, probabilities, targets)

    def surprise(p: np.ndarray) -> float:
        return -np.log(p[np.arange(len(targets)), targets].clip(1e-12)).mean()

    mixed = mix(predicted, probabilities)
    np.testing.assert_allclose(mixed.sum(axis=1), 1)
    np.testing.assert_allclose(mixed, mix.weight * mix.of_number(predicted) + (1 - mix.weight) * probabilities)
    best = min(surprise(probabilities), surprise(mix.of_number(predicted)))
    assert surprise(mixed) <= best + np.log(21) / 300


def test_few_samples_are_not_taken_for_certain() -> None:
    """Sixteen samples on one side of the edge and two on the other: targets of Platt, which two parameters meet."""
    predicted = np.repeat([-1.0, 1.0], [16, 2])
    alike = np.full((18, 2), 0.5)
    mix = ValueMix.fit((0.0,), (0, 1), predicted, alike, (predicted > 0).astype(int))
    np.testing.assert_allclose(mix.of_number(np.array([-1.0, 1.0]))[:, 1], [1 / 18, 3 / 4], atol=1e-3)
    assert mix.weight < 0.95


@pytest.mark.parametrize(("error", "cost"), [(0.3, 0.0), (2.0, 0.05)])
def test_small_validation_parts_do_little_harm(error: float, cost: float) -> None:
    """A number that knows more than the class head helps on average; one that knows less costs little."""
    predicted, probabilities, targets = sample(4000, 3, error, sharpness=1.0)
    drawn = np.random.default_rng(0).permutation(2000).reshape(-1, 18 + 2)[:40, :18]
    losses = []
    for part in drawn:
        mix = ValueMix.fit((1.0,), (0, 1), predicted[part], probabilities[part], targets[part])
        losses.append(log_loss(targets[2000:], mix(predicted, probabilities)[2000:]))
    alone = log_loss(targets[2000:], probabilities[2000:])
    assert np.mean(losses) < alone + cost
    assert max(losses) < 2 * alone


@pytest.mark.parametrize("predicted", [np.zeros(4), np.array([0.0, 1, 2, 3]), np.full(4, 1e8)])
def test_degenerate_validation_parts(predicted: np.ndarray) -> None:
    for targets in (np.zeros(4, int), np.ones(4, int), np.array([0, 0, 1, 1])):
        mix = ValueMix.fit((1.5,), (0, 1), predicted, np.full((4, 2), 0.5), targets)
        assert np.isfinite([mix.shift, mix.width, mix.weight]).all()
        assert mix.width > 0
        assert np.isfinite(mix(predicted, np.full((4, 2), 0.5))).all()


def test_written_and_read() -> None:
    mix = ValueMix((1.0, 2.0), (0, 1, 0), 0.1, 0.2, 0.35)
    assert ValueMix(**tuples(json.loads(json.dumps(asdict(mix))))) == mix
