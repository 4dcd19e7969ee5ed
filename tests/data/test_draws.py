"""Draw probabilities: each by its formula, in units of the distance between families, and what copies do to them."""

from __future__ import annotations

from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.batch import Standard, directions
from matcard.data.draws import DrawKind, EpochSampler, by_probability, draw_probabilities, one_of_each, unit
from matcard.errors import InputError

SEEDS = st.integers(0, 2**31)


def draw(n: int, f: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, f))


def spacing(points: torch.Tensor) -> np.ndarray:
    x = points.double().numpy()
    return np.linalg.norm(x[:, None] - x, axis=-1)


FORMULA = {
    "spread": lambda d: np.exp(-d),
    "density": lambda d: np.exp(-(d**2) / 2),
    "neighbors": lambda d: (d <= 1).astype(float),
}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(FORMULA)), st.integers(1, 30), st.floats(0.3, 40), st.floats(0.1, 3), st.booleans(), SEEDS
)
def test_by_the_formula(kind: DrawKind, n: int, scale: float, length: float, by_class: bool, seed: int) -> None:
    points = torch.from_numpy(draw(n, 3, seed))
    classes = np.random.default_rng(seed).integers(0, 3, n)
    similar = FORMULA[kind](scale * spacing(points) / length)
    if by_class:
        similar = similar * (classes[:, None] == classes)
    expected = 1 / similar.sum(1)
    found = draw_probabilities(kind, points=points, classes=classes if by_class else None, scale=scale, length=length)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-8)


def test_magnitude_is_the_weighting_without_negative_weights() -> None:
    points = torch.from_numpy(draw(15, 2))
    weights = np.linalg.solve(np.exp(-3 * spacing(points) / 0.7), np.ones(15)).clip(0)
    found = draw_probabilities("magnitude", points=points, scale=3, length=0.7)
    np.testing.assert_allclose(found, weights / weights.sum(), rtol=1e-7, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["NaCl", "Fe", "TiO2"]), min_size=1, max_size=20), st.booleans(), SEEDS)
def test_formulas_count_once(formulas: list[str], by_class: bool, seed: int) -> None:
    classes = np.random.default_rng(seed).integers(0, 2, len(formulas))
    names = [f"{f} {c}" if by_class else f for f, c in zip(formulas, classes, strict=True)]
    expected = np.array([1 / names.count(name) for name in names])
    found = draw_probabilities("formula", formulas=np.array(formulas), classes=classes if by_class else None)
    np.testing.assert_allclose(found, expected / expected.sum())


@pytest.mark.parametrize("kind", get_args(DrawKind))
def test_a_family_of_tight_copies_counts_about_once(kind: DrawKind) -> None:
    base = draw(20, 8)
    # Of copies that are not exact, some have negative weights in the magnitude.
    apart = 0 if kind == "magnitude" else 1e-4
    copied = np.concatenate([base, base[:1] + apart * draw(200, 8, 1)])
    formulas = np.array([*(f"X{i}" for i in range(20)), *["X0"] * 200])
    points = directions(copied)
    length = unit(points, formulas)
    found = draw_probabilities(kind, points=points, formulas=formulas, scale=30, length=length)
    assert found[0] + found[20:].sum() == pytest.approx(1 / 20, rel=0.1)
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize(("others", "copies", "noise"), [(300, 300, 0.01), (300, 3000, 1e-3), (100, 2000, 0.01)])
@pytest.mark.parametrize("kind", ["spread", "density"])
def test_a_family_that_is_most_of_the_data_counts_about_once(kind: str, others: int, copies: int, noise: float) -> None:
    """Standardised by all, it would lie at 0, and its noise would point in all directions."""
    base = draw(others, 20)
    numbers = np.concatenate([base, base[:1] + noise * draw(copies, 20, 1)])
    formulas = np.array([*(f"X{i}" for i in range(others)), *["X0"] * copies])
    points = directions(numbers, one_of_each(formulas, len(numbers)))
    found = draw_probabilities(kind, points=points, formulas=formulas, scale=30, length=unit(points, formulas))
    assert 0.9 < (found[0] + found[others:].sum()) * (others - 1) / found[1:others].sum() < 1.5


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30))
def test_one_of_each_formula(names: list[str]) -> None:
    drawn = one_of_each(np.array(names), len(names))
    assert sorted(names[i] for i in drawn) == sorted(set(names))
    assert sorted(one_of_each(None, 7)) == list(range(7))


def test_the_unit_is_the_median_between_formulas() -> None:
    points = torch.from_numpy(draw(7, 3))
    formulas = np.array(list("abcdefg"))
    assert unit(points, formulas) == pytest.approx(float(np.median(spacing(points)[np.triu_indices(7, 1)])), rel=1e-6)
    # One trajectory does not count more than once.
    many = torch.cat([points, points[:1] + 1e-9 * torch.randn(500, 3, generator=torch.Generator().manual_seed(0))])
    names = np.concatenate([formulas, ["a"] * 500])
    assert unit(many, names) == pytest.approx(unit(points, formulas), rel=1e-6)
    plain = torch.pdist(many).median()
    assert float(plain) < 1e-6


def test_the_unit_of_few_and_of_many() -> None:
    assert unit(torch.zeros(3, 2), np.array(["a", "b", "c"])) == 1.0
    assert unit(torch.rand(3, 2), np.array(["a", "a", "a"])) == 1.0
    points = torch.from_numpy(draw(5000, 2))
    names = np.arange(5000)
    assert unit(points, names) == unit(points, names)
    assert unit(points, names) == pytest.approx(float(torch.pdist(points[:2000]).median()), rel=0.1)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 4), SEEDS)
def test_standardised(n: int, f: int, seed: int) -> None:
    train, new = 3 + 5 * draw(n, f, seed), 100 * draw(8, f, seed + 1)
    train[:, 0] = 0.1  # constant, but for rounding
    standard = Standard.of(train)
    deviation = train.std(axis=0)
    deviation[deviation < 1e-6] = 1
    np.testing.assert_allclose(standard(new), np.clip((new - train.mean(axis=0)) / deviation, -5, 5), atol=1e-9)
    np.testing.assert_allclose(standard(train)[:, 0], 0, atol=1e-12)
    lengths = directions(train).norm(dim=1).numpy()
    np.testing.assert_allclose(lengths[lengths > 0], 1)


@pytest.mark.parametrize("values", [np.empty((0, 3)), np.array([[1.0, np.nan]])])
def test_what_cannot_be_standardised(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="one training sample at least, and finite values"):
        Standard.of(values)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="'formula' needs the formula"):
        draw_probabilities("formula", points=torch.rand(3, 2))
    with pytest.raises(InputError, match="'spread' needs numbers of each sample"):
        draw_probabilities("spread", formulas=np.array(["a"]))


def test_the_sampler_draws_by_the_probabilities() -> None:
    probabilities = np.array([0.5, 0.3, 0.2, 0.0])
    sampler = EpochSampler(200, partial(by_probability, np.repeat(probabilities, 50) / 50), seed=1)
    drawn = []
    for epoch in range(100):
        sampler.set_epoch(epoch)
        drawn += list(sampler)
        assert len(drawn) == 200 * (epoch + 1)
    # 20,000 draws: four standard errors.
    shares = np.bincount(np.array(drawn) // 50, minlength=4) / len(drawn)
    assert np.abs(shares - probabilities).max() < 4 * (0.25 / len(drawn)) ** 0.5


def test_seed_and_epoch_decide_the_draws() -> None:
    def epochs(seed: int, *numbers: int) -> list[list[int]]:
        sampler = EpochSampler(30, partial(by_probability, np.full(30, 1 / 30)), seed=seed)
        found = []
        for number in numbers:
            sampler.set_epoch(number)
            found.append(list(sampler))
        return found

    assert epochs(1, 0, 1, 2)[2] == epochs(1, 2)[0]
    assert epochs(1, 0) != epochs(2, 0)
    assert epochs(1, 0) != epochs(1, 1)
