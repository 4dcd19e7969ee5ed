"""Twins, near twins, and the sets that break the obvious code: one point, none, all at zero."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.invariants import jitter_log, magnitude, spread, weighting
from matcard.invariants._similarity import similarity_of, spacing_of
from matcard.invariants._solve import factor_alone, factorise

ORDERS = (0.0, 1.0, 2.0, math.inf)


def draw(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradient(value: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    (slope,) = torch.autograd.grad(value, points)
    assert slope.isfinite().all()
    return slope


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("p", [1.0, 1.7, 2.0])
def test_a_repeated_point_changes_the_magnitude_by_nothing(d: int, p: float) -> None:
    distinct = draw(8, d)
    repeated = torch.cat([distinct, distinct[2:5], distinct[2:3]])
    before = jitter_log.count
    torch.testing.assert_close(magnitude(repeated, 1.3, p), magnitude(distinct, 1.3, p), rtol=1e-13, atol=0)
    assert jitter_log.count == before
    weights, merged = weighting(repeated, 1.3, p), weighting(distinct, 1.3, p)
    torch.testing.assert_close(weights[[2, 8, 11]], (merged[2] / 3).expand(3))
    torch.testing.assert_close(weights[[4, 10]], (merged[4] / 2).expand(2))
    torch.testing.assert_close(weights[[0, 1, 5, 6, 7]], merged[[0, 1, 5, 6, 7]])


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_twins_share_the_gradient_of_the_merged_point(d: int, p: float) -> None:
    distinct = draw(6, d).requires_grad_()
    repeated = torch.cat([distinct, distinct[1:3], distinct[1:2]]).detach().requires_grad_()
    merged = gradient(magnitude(distinct, 1.3, p), distinct)
    shared = gradient(magnitude(repeated, 1.3, p), repeated)
    torch.testing.assert_close(shared[[1, 6, 8]], merged[1].expand(3, d) / 3)
    torch.testing.assert_close(shared[[2, 7]], merged[2].expand(2, d) / 2)
    torch.testing.assert_close(shared[[0, 3, 4, 5]], merged[[0, 3, 4, 5]])


@pytest.mark.parametrize("d", [1, 3])
def test_weights_of_twins_pull_alike(d: int) -> None:
    """Twins have the same weight, so only the mean of what is made of their weights can matter."""
    points = draw(6, d)[[0, 1, 2, 3, 4, 5, 1]].requires_grad_()
    uneven = torch.arange(7.0, dtype=torch.float64)
    even = uneven.clone()
    even[[1, 6]] = 3.5
    slopes = [gradient((weighting(points, 1.3) * factor).sum(), points) for factor in (uneven, even)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("order", ORDERS)
def test_spread_counts_every_twin(d: int, order: float) -> None:
    distinct = draw(6, d)
    repeated = torch.cat([distinct, distinct[1:3]]).requires_grad_()
    zeta = torch.exp(-1.3 * (repeated[:, None] - repeated[None]).detach().norm(dim=-1))
    typical = zeta.mean(1)
    expected = {
        0.0: (1 / typical).mean(),
        1.0: typical.log().mean().neg().exp(),
        2.0: 1 / typical.mean(),
        math.inf: 1 / typical.max(),
    }[order]
    value = spread(repeated, 1.3, order)
    torch.testing.assert_close(value, expected)
    slope = gradient(value, repeated)
    torch.testing.assert_close(slope[[1, 2]], slope[[6, 7]])


def test_twins_in_some_sets_of_a_batch() -> None:
    points = draw(3 * 6, 2).reshape(3, 6, 2)
    points[1, 4] = points[1, 0]
    points[2] = 0
    points.requires_grad_()
    values = magnitude(points)
    for one, value in zip(points, values, strict=True):
        torch.testing.assert_close(value, magnitude(one.unique(dim=0)))
    assert gradient(values.sum(), points)[2].eq(0).all()


@settings(deadline=None, max_examples=40)
@given(st.floats(-18, -1), st.integers(0, 2**31), st.sampled_from([1, 3]), st.sampled_from([1.0, 1.5, 2.0]))
def test_near_twins(exponent: float, seed: int, d: int, p: float) -> None:
    """The magnitude is continuous as two points meet, and its slopes stay below what the formula allows."""
    distinct = draw(7, d, seed)
    near = distinct[:3] + 10**exponent * draw(3, d, seed + 1)
    points = torch.cat([distinct, near]).requires_grad_()
    value = magnitude(points, 1.0, p)
    merged = magnitude(distinct, 1.0, p)
    # Each of three points leaves its twin by a distance s, which adds at most about s.
    moved = (points[:3] - points[7:]).detach().abs().sum()
    assert -1e-12 <= float((value - merged).detach()) <= float(moved) + 1e-12
    assert gradient(value, points).abs().max() < 10
    for order in ORDERS:
        assert gradient(spread(points, 1.0, order, p), points).abs().max() < 10


def test_a_cluster_that_shrinks_to_the_origin() -> None:
    """Training that succeeds: all errors reach the origin, where a float32 solve turns singular."""
    errors = draw(200, 10)
    for shrink in (1e-2, 1e-6, 1e-9, 1e-12, 1e-14, 1e-16, 1e-20, 1e-160, 0.0):
        points = (errors * shrink).requires_grad_()
        for value in (magnitude(points, origin=True), spread(points, origin=True)):
            assert -1e-12 < float(value.detach() - 1) < 200 * 5 * shrink + 1e-12
            assert gradient(value, points).abs().max() <= 1


def test_small_coordinates_beside_large_ones() -> None:
    """Two errors that differ only in the 20th digit of the large coordinates must not pull on those."""
    points = torch.tensor([[1.0, -1.0, 1e-20], [1.0, -1.0, 3e-20], [0.0, 0.5, 0.0]], dtype=torch.float64)
    points = torch.cat([points, draw(40, 3)]).requires_grad_()
    slope = gradient(magnitude(points), points)
    merged = torch.cat([points[:1], points[2:]]).detach().requires_grad_()
    expected = gradient(magnitude(merged), merged)
    torch.testing.assert_close(slope[:2].sum(0)[:2], expected[0, :2], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("d", [0, 1, 3])
def test_one_point_and_none(d: int, p: float) -> None:
    for n, expected in ((0, 0.0), (1, 1.0), (5, 1.0)):
        points = torch.zeros(2, n, d, requires_grad=True)
        values = [magnitude(points, 1.0, p), weighting(points, 1.0, p).sum(-1)]
        values += [spread(points, 1.0, order, p) for order in ORDERS]
        for value in values:
            torch.testing.assert_close(value, torch.full((2,), expected))
            assert gradient(value.sum(), points).eq(0).all()
        torch.testing.assert_close(magnitude(points, 1.0, p, origin=True), torch.ones(2))
        torch.testing.assert_close(spread(points, 1.0, 0.0, p, origin=True), torch.ones(2))


def test_jitter_is_counted() -> None:
    """So small a scale leaves nothing of the differences but rounding, yet no two points are twins."""
    points = draw(300, 3)
    before = jitter_log.count
    value = magnitude(torch.stack([points, points * 1e9]), 1e-15)
    assert value[0] == pytest.approx(1.0, abs=1e-9)
    assert value[1] == pytest.approx(float(magnitude(points, 1e-6)), rel=1e-9)
    assert jitter_log.count == before + 1


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_hidden(wrong: float) -> None:
    points = torch.stack([draw(5, 2), draw(5, 2)])
    points[1, 3, 0] = wrong
    before = jitter_log.count
    for invariant in (magnitude, spread):
        for method in ("dense", "matrix_free"):
            value = invariant(points, method=method)
            assert value[0].isfinite()
            assert value[1].isnan()
        value = invariant(points[..., :1])
        assert value[0].isfinite()
        assert value[1].isnan()
    assert jitter_log.count == before


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
@pytest.mark.parametrize("n", [1, 2, 7, 65, 200])
def test_the_factor_in_place_is_the_factor(batch: tuple[int, ...], n: int) -> None:
    points = torch.randn(*batch, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    spacing = spacing_of(points, 2.0)
    before = spacing.distances.clone()
    factor = factor_alone(spacing)
    torch.testing.assert_close(factor, factorise(similarity_of(spacing))[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(factor @ factor.mT, similarity_of(spacing), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(spacing.distances, before, rtol=0, atol=0)


def test_distances_that_overflow_are_far() -> None:
    points = draw(30, 3)
    points[0] = 1e200
    torch.testing.assert_close(magnitude(points), 1 + magnitude(points[1:]))
