"""Numbers as targets: their scale, the loss by a loop, what is missing, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from matcard.errors import InputError
from matcard.models.value import ValueScale, value_loss

SEEDS = st.integers(0, 2**31)


def numbers(n: int, v: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    values = generator.gamma(1.0, 100.0, (n, v))
    values[2:][generator.random((n - 2, v)) < 0.3] = np.nan
    return values


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 30), st.integers(1, 3), st.sampled_from(["none", "log1p"]), SEEDS)
def test_there_and_back(n: int, v: int, transform: str, seed: int) -> None:
    values = numbers(n, v, seed)
    scale = ValueScale.fit(values, [f"c{k}" for k in range(v)], transform)
    targets = scale.targets(values)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(np.nanmean(targets, axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.nanstd(targets, axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(scale.numbers(targets), values, rtol=1e-3, atol=1e-3)
    first = np.log1p(values[:, 0]) if transform == "log1p" else values[:, 0]
    np.testing.assert_allclose(targets[:, 0], (first - np.nanmean(first)) / np.nanstd(first), rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 20), st.integers(1, 3), SEEDS)
def test_the_loss_by_a_loop(n: int, v: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    predicted, targets = generator.normal(size=(n, v)) * 3, generator.normal(size=(n, v))
    targets[generator.random((n, v)) < 0.4] = np.nan
    expected = 0.0
    for k in range(v):
        errors = [abs(p - t) for p, t in zip(predicted[:, k], targets[:, k], strict=True) if not np.isnan(t)]
        if errors:
            expected += sum(e**2 / 2 if e <= 1 else e - 0.5 for e in errors) / len(errors)
    assert float(value_loss(torch.tensor(predicted), torch.tensor(targets))) == pytest.approx(expected)


def test_what_is_missing_pulls_at_nothing() -> None:
    predicted = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[0.1, np.nan], [np.nan, np.nan], [0.5, np.nan], [3.0, np.nan]], dtype=torch.float64)
    assert gradcheck(lambda x: value_loss(x, targets), predicted)
    (slope,) = torch.autograd.grad(value_loss(predicted, targets), predicted)
    assert (slope != 0).tolist() == [[True, False], [False, False], [True, False], [True, False]]
    nothing = value_loss(predicted, torch.full_like(predicted, torch.nan))
    assert nothing == 0
    assert torch.autograd.grad(nothing, predicted)[0].eq(0).all()


@pytest.mark.parametrize("column", [[1.0, 1.0, np.nan], [np.nan] * 3, [2.0, np.nan, np.nan]])
def test_a_column_without_two_numbers(column: list[float]) -> None:
    with pytest.raises(InputError, match=r"column 'b' has no two different numbers.*--data\.auxiliary"):
        ValueScale.fit(np.array([[1.0, 2.0, 3.0], column]).T, ["a", "b"])


def test_logarithms_of_negative_numbers() -> None:
    with pytest.raises(InputError, match=r"log1p: column 'energy' holds -3, .*take none"):
        ValueScale.fit(np.array([[1.0], [-3.0]]), ["energy"], "log1p")
    assert ValueScale.fit(np.array([[1.0, -3], [0.5, 4]]), ["gap", "energy"], "log1p").names == ("gap", "energy")
