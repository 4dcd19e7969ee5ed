"""The line: no n x n numbers, and the same values, weights and slopes as the dense way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from matcard.invariants import _points as points_module
from matcard.invariants import magnitude, spread, weighting

ORDERS = (0.0, 1.0, 2.5, math.inf)
# A coarse grid makes twins common.
positions = st.lists(st.integers(-6, 6).map(lambda k: k / 4), min_size=1, max_size=25)


@settings(deadline=None, max_examples=40)
@given(positions, st.floats(0.05, 5.0))
def test_line_and_dense_agree(values: list[float], scale: float) -> None:
    line = torch.tensor(values, dtype=torch.float64)[:, None].requires_grad_()
    pairs = [(magnitude(line, scale), magnitude(line, scale, method="dense"))]
    pairs += [(weighting(line, scale).pow(2).sum(), weighting(line, scale, method="dense").pow(2).sum())]
    pairs += [(spread(line, scale, order), spread(line, scale, order, method="dense")) for order in ORDERS[:-1]]
    for fast, slow in pairs:
        torch.testing.assert_close(fast, slow, rtol=1e-11, atol=1e-12)
        slopes = [torch.autograd.grad(value, line, retain_graph=True)[0] for value in (fast, slow)]
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(spread(line, scale, math.inf), spread(line, scale, math.inf, method="dense"))
    torch.testing.assert_close(weighting(line, scale), weighting(line, scale, method="dense"), rtol=1e-10, atol=1e-11)


def test_the_line_is_chosen_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a matrix was made for points on a line")

    for dense in ("weights_of_points", "magnitude_of_points", "measure"):
        monkeypatch.setattr(points_module, dense, refuse)
    line = torch.arange(5.0)[:, None]
    magnitude(line)
    weighting(line)
    spread(line)
    with pytest.raises(AssertionError):
        magnitude(line.expand(5, 2))


def test_derivatives() -> None:
    values = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, t: magnitude(x[..., None], t), (values, scale))
    assert gradgradcheck(lambda x, t: magnitude(x[..., None], t), (values, scale))


def test_a_hundred_thousand_points() -> None:
    n = 100_000
    values = torch.linspace(0, 3, n, dtype=torch.float64)[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    values.requires_grad_()
    value = magnitude(values[:, None], 2.0)
    assert float(value.detach()) == pytest.approx(
        1 + (n - 1) * math.tanh(3 / (n - 1)), rel=1e-12
    )  # 1 + t L / 2 in the limit
    (slope,) = torch.autograd.grad(value, values)
    ends = torch.stack([slope[values.argmin()], slope[values.argmax()]])
    torch.testing.assert_close(ends, torch.tensor([-1.0, 1.0], dtype=torch.float64), rtol=1e-6, atol=0)
    integral = spread(values.detach()[:, None], 2.0)
    # Row sums tend to n / 3 times the integral of exp(-2 |x - y|) over y.
    x = torch.linspace(0, 3, 20_001, dtype=torch.float64)
    expected = torch.trapezoid(1 / (1 - (torch.exp(-2 * x) + torch.exp(-2 * (3 - x))) / 2), x)
    assert float(integral) == pytest.approx(float(expected), rel=1e-4)


def test_origin_and_ends() -> None:
    line = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
    assert float(magnitude(line, origin=True)) == pytest.approx(1 + math.tanh(1) + math.tanh(0.5), rel=1e-14)
    assert float(magnitude(torch.zeros(0, 1))) == 0
    assert magnitude(torch.zeros(3, 0, 1)).shape == (3,)
