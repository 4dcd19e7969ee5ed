"""Values against mpmath with 40 digits, and against the dumbest loops."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from matcard.invariants import magnitude, similarity, spread, weighting

POINTS = torch.randn(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
SCALES = (1e-3, 0.7, 4.0)
EXPONENTS = (1.0, 1.3, 2.0)


def mp_similarity(points: torch.Tensor, scale: float, p: float) -> mpmath.matrix:
    rows = [[mpmath.mpf(value) for value in row] for row in points.tolist()]

    def distance(x: list[mpmath.mpf], y: list[mpmath.mpf]) -> mpmath.mpf:
        return mpmath.fsum(abs(a - b) ** mpmath.mpf(p) for a, b in zip(x, y, strict=True)) ** (1 / mpmath.mpf(p))

    return mpmath.matrix([[mpmath.exp(-mpmath.mpf(scale) * distance(x, y)) for y in rows] for x in rows])


def mp_spread(zeta: mpmath.matrix, order: float) -> mpmath.mpf:
    n = zeta.rows
    typical = [mpmath.fsum(zeta[i, j] for j in range(n)) / n for i in range(n)]
    if order == 1:
        return mpmath.exp(-mpmath.fsum(mpmath.log(r) for r in typical) / n)
    if math.isinf(order):
        return 1 / max(typical)
    q = mpmath.mpf(order)
    return (mpmath.fsum(r ** (q - 1) for r in typical) / n) ** (1 / (1 - q))


@pytest.fixture(autouse=True)
def _digits() -> object:
    with mpmath.workdps(40):
        yield


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", EXPONENTS)
def test_magnitude_and_weighting(scale: float, p: float) -> None:
    values, weights = magnitude(POINTS, scale, p), weighting(POINTS, scale, p)
    for one, value, weight in zip(POINTS, values, weights, strict=True):
        exact = mpmath.lu_solve(mp_similarity(one, scale, p), mpmath.ones(7, 1))
        assert float(value) == pytest.approx(float(mpmath.fsum(exact)), rel=1e-13)
        assert weight.tolist() == pytest.approx([float(w) for w in exact], rel=1e-9)


@pytest.mark.parametrize("order", [0, 0.5, 1 - 1e-9, 1, 1 + 1e-15, 1 + 1e-6, 2, 3.7, 250.0, 1e12, math.inf])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", EXPONENTS)
def test_spread_of_every_order(order: float, scale: float, p: float) -> None:
    for one, value in zip(POINTS, spread(POINTS, scale, order, p), strict=True):
        assert float(value) == pytest.approx(float(mp_spread(mp_similarity(one, scale, p), order)), rel=1e-13)


def test_a_loop_over_pairs() -> None:
    points = POINTS[0]
    zeta = torch.empty(7, 7, dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            zeta[i, j] = math.exp(-1.7 * math.dist(points[i].tolist(), points[j].tolist()))
    torch.testing.assert_close(similarity(points, 1.7), zeta, rtol=1e-13, atol=0)
    assert float(magnitude(points, 1.7)) == pytest.approx(float(torch.linalg.inv(zeta).sum()), rel=1e-12)
    assert float(spread(points, 1.7)) == pytest.approx(sum(1 / sum(row) for row in zeta.tolist()), rel=1e-13)


@pytest.mark.parametrize("n", [40, 200])
@pytest.mark.parametrize("p", EXPONENTS)
def test_many_points(n: int, p: float) -> None:
    """Past 25 points torch.cdist would use a matrix product; here near pairs are told from far ones."""
    points = torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    points[n // 2 :] = points[: n - n // 2] + 1e-5 * points[n // 2 :]
    zeta = torch.exp(-(((points[:, None] - points[None]).abs() ** p).sum(-1) ** (1 / p)))
    torch.testing.assert_close(similarity(points, p=p), zeta, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(magnitude(points, p=p), torch.linalg.solve(zeta, torch.ones_like(zeta[0])).sum())


def test_batches_are_taken_one_by_one() -> None:
    points = torch.randn(2, 3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scale = torch.tensor([[0.5, 1.0, 2.0], [3.0, 4.0, 5.0]], dtype=torch.float64)
    for invariant in (magnitude, weighting, similarity, spread):
        whole = invariant(points, scale)
        for i in range(2):
            for j in range(3):
                torch.testing.assert_close(whole[i, j], invariant(points[i, j], float(scale[i, j])))


def test_one_set_at_many_scales() -> None:
    scales = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    expected = torch.stack([magnitude(POINTS[0], float(t)) for t in scales])
    torch.testing.assert_close(magnitude(POINTS[0], scales), expected)
    torch.testing.assert_close(
        magnitude(POINTS, 1.0, origin=True)[1], magnitude(torch.cat([POINTS[1], POINTS[1, :1] * 0]))
    )
