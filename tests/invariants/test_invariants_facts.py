"""The facts that the losses stand on, each as a law."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.invariants import magnitude, spread, weighting

ORDERS = (0.0, 0.5, 1.0, 2.0, 7.5, math.inf)
laws = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)
scales = st.floats(0.05, 20.0)
exponents = st.sampled_from([1.0, 1.5, 2.0])


def draw(seed: int, n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(value: torch.Tensor, expected: torch.Tensor | float, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), rtol=tolerance, atol=tolerance)


@laws
@given(st.floats(1e-6, 50.0), scales, exponents)
def test_two_points(distance: float, scale: float, p: float) -> None:
    points = torch.tensor([[3.0, -1.0], [3.0, -1.0 + distance]], dtype=torch.float64)
    expected = 1 + math.tanh(scale * float(points[1, 1] - points[0, 1]) / 2)
    close(magnitude(points, scale, p), expected)
    close(spread(points, scale, 0.0, p), expected)


@laws
@given(st.integers(2, 12), scales, exponents)
def test_equidistant_points(n: int, scale: float, p: float) -> None:
    points = torch.eye(n, dtype=torch.float64)
    expected = n / (1 + (n - 1) * math.exp(-scale * 2 ** (1 / p)))
    close(magnitude(points, scale, p), expected)
    for order in ORDERS:  # every point is as typical as any other, so the order does not matter
        close(spread(points, scale, order, p), expected)


@laws
@given(seeds, st.integers(2, 30), scales, exponents)
def test_points_on_a_line_need_no_solve(seed: int, n: int, scale: float, p: float) -> None:
    points = draw(seed, n, 1)
    gaps = points[:, 0].sort().values.diff()
    expected = 1 + torch.tanh(scale * gaps / 2).sum()
    close(magnitude(points, scale, p), expected)
    close(magnitude(points, scale, p, method="dense"), expected)
    embedded = torch.cat([points, torch.zeros_like(points)], 1)
    close(magnitude(embedded, scale, p), expected)


@laws
@given(seeds, st.integers(1, 20), scales)
def test_errors_of_two_classes_are_a_line(seed: int, n: int, scale: float) -> None:
    a = draw(seed, n, 1)
    errors = torch.cat([a, -a], 1)
    close(magnitude(errors, scale), magnitude(math.sqrt(2) * a, scale))
    close(magnitude(errors, scale, 1.0), magnitude(2 * a, scale))


@laws
@given(seeds, st.integers(1, 5), st.integers(1, 5), scales)
def test_l1_products_multiply(seed: int, n: int, m: int, scale: float) -> None:
    left, right = draw(seed, n, 2), draw(seed + 1, m, 3)
    product = torch.stack([torch.cat(pair) for pair in itertools.product(left, right)])
    close(magnitude(product, scale, 1.0), magnitude(left, scale, 1.0) * magnitude(right, scale, 1.0))
    for order in ORDERS:
        parts = spread(left, scale, order, 1.0) * spread(right, scale, order, 1.0)
        close(spread(product, scale, order, 1.0), parts)


@laws
@given(seeds, st.integers(1, 25), st.integers(1, 4), scales)
def test_order_of_spread_and_magnitude(seed: int, n: int, d: int, scale: float) -> None:
    points, slack = draw(seed, n, d), 1e-12
    chain = [spread(points, scale, order) for order in reversed(ORDERS)] + [magnitude(points, scale)]
    assert 1 - slack <= chain[0]
    assert all(lower <= upper * (1 + slack) for lower, upper in itertools.pairwise(chain))
    assert chain[-1] <= n * (1 + slack)


@laws
@given(seeds, st.integers(1, 25), st.integers(1, 4))
def test_both_grow_with_the_scale(seed: int, n: int, d: int) -> None:
    points = draw(seed, n, d)
    grid = torch.logspace(-3, 3, 25, dtype=torch.float64)
    for values in (magnitude(points, grid), *(spread(points, grid, order) for order in ORDERS)):
        assert (values.diff() >= -1e-12).all()


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_limits_of_the_scale(p: float) -> None:
    points = draw(0, 9, 3)[[*range(9), *range(4)]]  # 9 distinct points, 4 of them twice
    close(magnitude(points, 1e-13, p), 1.0, 1e-10)
    close(magnitude(points, 1e9, p), 9.0)
    close(spread(points, 1e9, 0.0, p), 9.0)
    for order in ORDERS:
        close(spread(points, 1e-13, order, p), 1.0, 1e-10)
        assert spread(points, 1e9, order, p) < 9 or order == 0


@laws
@given(st.integers(1, 40), st.floats(0.01, 30.0))
def test_twins(n: int, distance: float) -> None:
    error = torch.tensor([0.6, -0.8, 0.0], dtype=torch.float64) * distance
    copies, q = error.expand(n, 3), math.exp(-float(error.norm()))
    close(magnitude(copies, origin=True) - 1, math.tanh(float(error.norm()) / 2))
    close(spread(copies, origin=True) - 1, n * (1 - q**2) / ((n + q) * (n * q + 1)))


def test_twins_lose_their_spread() -> None:
    error = torch.tensor([[0.6, -0.8]], dtype=torch.float64)
    excess = [float(spread(error.expand(n, 2), origin=True)) - 1 for n in (1, 10, 100, 1000)]
    assert all(more < less for less, more in itertools.pairwise(excess))
    assert excess[-1] < 3e-3


@laws
@given(seeds, st.integers(1, 15), st.integers(1, 4), scales, exponents)
def test_symmetries(seed: int, n: int, d: int, scale: float, p: float) -> None:
    points = draw(seed, n, d)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=generator)
    moved = points[order] + torch.randn(d, dtype=torch.float64, generator=generator)
    turn, _ = torch.linalg.qr(draw(seed + 1, d, d))
    close(weighting(moved, scale, p), weighting(points, scale, p)[order], 1e-10)
    for invariant in (magnitude, lambda x, t, p: spread(x, t, 2.0, p), lambda x, t, p: spread(x, t, 0.0, p)):
        close(invariant(moved, scale, p), invariant(points, scale, p))
        close(invariant(points @ turn, scale, 2.0), invariant(points, scale, 2.0))


@laws
@given(seeds, st.integers(1, 40), st.integers(1, 4), scales, exponents)
def test_the_similarity_of_distinct_points_is_positive_definite(
    seed: int, n: int, d: int, scale: float, p: float
) -> None:
    points = draw(seed, n, d)
    zeta = torch.exp(-scale * torch.cdist(points, points, p=p, compute_mode="donot_use_mm_for_euclid_dist"))
    assert torch.linalg.eigvalsh(zeta)[0] > 0
    close(zeta @ weighting(points, scale, p), torch.ones(n), 1e-10)
