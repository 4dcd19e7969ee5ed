"""The magnitude function, the dimension it shows, and the median heuristic."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.invariants import _scales, effective_dimension, magnitude, magnitude_profile, median_scale

POINTS = torch.randn(2, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
SCALES = [1e-6, 0.3, 1.0, 5.0, 1e6]


@pytest.mark.parametrize("method", ["auto", "matrix_free"])
def test_profile(method: str) -> None:
    profile = magnitude_profile(POINTS, SCALES, method=method)
    assert profile.shape == (2, 5)
    torch.testing.assert_close(profile, torch.stack([magnitude(POINTS, t) for t in SCALES], -1))
    torch.testing.assert_close(profile[:, -1], torch.full((2,), 12.0, dtype=torch.float64))
    scales = torch.tensor(SCALES, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(magnitude_profile(POINTS, scales).sum(), scales)
    assert (slope > -1e-12).all()


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("method", ["auto", "matrix_free"])
def test_dimension_is_the_slope_of_the_profile(p: float, method: str) -> None:
    step = 1e-4
    with torch.no_grad():
        slope = effective_dimension(POINTS, SCALES[1:4], p, method=method)
    upper = magnitude_profile(POINTS, [t * math.exp(step) for t in SCALES[1:4]], p).log()
    lower = magnitude_profile(POINTS, [t * math.exp(-step) for t in SCALES[1:4]], p).log()
    torch.testing.assert_close(slope, (upper - lower) / (2 * step), rtol=1e-6, atol=1e-8)


def test_dimension_of_a_line_and_of_a_square() -> None:
    """At a scale that resolves the shape and not the points, growth approaches the dimension from below."""
    line = torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]
    side = torch.linspace(0, 1, 30, dtype=torch.float64)
    square = torch.cartesian_prod(side, side)
    assert 0.9 < float(effective_dimension(line, [40.0])) < 1.0
    assert 1.3 < float(effective_dimension(square, [10.0], 1.0)) < 2.0
    assert effective_dimension(square, [1e-4, 1e5]).abs().max() < 1e-3


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 40), st.integers(1, 4), st.sampled_from([1.0, 1.5, 2.0]), st.integers(0, 2**31))
def test_median(n: int, d: int, p: float, seed: int) -> None:
    points = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    points = torch.cat([points, points[:1]])
    apart = sorted(
        float(torch.linalg.vector_norm(points[i] - points[j], p))
        for i in range(n + 1)
        for j in range(i)
        if not torch.equal(points[i], points[j])
    )
    median = apart[(len(apart) - 1) // 2]
    assert float(median_scale(points, p)) == pytest.approx(1 / median, rel=1e-11)
    assert float(median_scale(points * 10, p)) == pytest.approx(0.1 / median, rel=1e-11)


def test_median_of_degenerate_sets() -> None:
    for n in (0, 1, 5):
        torch.testing.assert_close(median_scale(torch.zeros(2, n, 3)), torch.ones(2))
    tiny = torch.tensor([[0.0], [1e-30]], dtype=torch.float32, requires_grad=True)
    for dtype in (torch.float16, torch.float32, torch.float64):
        for points in (tiny, tiny * 1e30 * 6e4, tiny * 1e-8):
            scale = median_scale(points.to(dtype))
            assert scale.isfinite()
            assert scale > 0
            assert not scale.requires_grad
    batch = torch.stack([torch.zeros(3, 1), torch.arange(3.0)[:, None]])
    torch.testing.assert_close(median_scale(batch), torch.ones(2))


def test_median_of_many_points_takes_a_part_of_them() -> None:
    points = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    assert float(median_scale(points)) == pytest.approx(float(median_scale(points[:2000])), rel=0.05)


@pytest.mark.parametrize(("n", "step"), [(7, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_the_part_is_evenly_spaced_and_as_large_as_it_may_be(
    n: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    expected = median_scale(points[::step])
    monkeypatch.setattr(_scales, "_MEDIAN_POINTS", 8)
    assert median_scale(points) == expected
