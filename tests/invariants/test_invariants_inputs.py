"""Bad input is refused with the reason and the way out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from matcard.errors import InputError
from matcard.invariants import (
    effective_dimension,
    magnitude,
    magnitude_profile,
    median_scale,
    similarity,
    spread,
    weighting,
)

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS = torch.eye(3)
OF_POINTS = (similarity, weighting, magnitude, spread)


@pytest.mark.parametrize("invariant", [*OF_POINTS, median_scale])
@pytest.mark.parametrize("p", [2.1, 3.0, math.inf, 0.9, 0.0, math.nan])
def test_p_beyond_two(invariant: Callable[..., torch.Tensor], p: float) -> None:
    with pytest.raises(InputError, match=r"p = .*expected 1 <= p <= 2.*positive definite"):
        invariant(POINTS, p=p)


def test_p_beyond_two_fails_for_a_reason() -> None:
    """The similarity of distinct points under the maximum norm is not positive definite."""
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4)
    points = torch.cat([torch.eye(4, dtype=torch.float64), -torch.eye(4, dtype=torch.float64), corners])
    zeta = torch.exp(-0.5 * torch.cdist(points, points, p=math.inf))
    assert torch.linalg.eigvalsh(zeta)[0] < -0.01


@pytest.mark.parametrize("invariant", OF_POINTS)
@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_scale(invariant: Callable[..., torch.Tensor], scale: float) -> None:
    with pytest.raises(InputError, match=r"scale = .*positive, finite"):
        invariant(POINTS, scale)


@pytest.mark.parametrize("invariant", OF_POINTS)
def test_scales_of_a_batch(invariant: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(InputError, match=r"scale has shape \(2,\).*batch of shape \(5,\)"):
        invariant(POINTS.expand(5, 3, 3), torch.ones(2))


@pytest.mark.parametrize("invariant", [weighting, magnitude])
@pytest.mark.parametrize("tolerance", [0.0, -1e-8, math.nan])
def test_tolerance(invariant: Callable[..., torch.Tensor], tolerance: float) -> None:
    with pytest.raises(InputError, match="tolerance = "):
        invariant(POINTS, method="matrix_free", tolerance=tolerance)


@pytest.mark.parametrize("order", [-0.1, math.nan, -math.inf])
def test_order(order: float) -> None:
    with pytest.raises(InputError, match=r"order = .*from 0 to infinity"):
        spread(POINTS, order=order)


@pytest.mark.parametrize("invariant", [*OF_POINTS, median_scale])
def test_points(invariant: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(InputError, match=r"shape \(3,\).*points\[:, None\]"):
        invariant(POINTS[0])
    with pytest.raises(InputError, match=r"dtype torch.int64.*points\.float\(\)"):
        invariant(POINTS.long())


@pytest.mark.parametrize("invariant", [weighting, magnitude, spread])
def test_method(invariant: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(InputError, match=r"method = 'lu'.*auto, line, dense, matrix_free"):
        invariant(POINTS, method="lu")
    with pytest.raises(InputError, match=r"method = 'line' with points of 3 coordinates.*method='auto'"):
        invariant(POINTS, method="line")


@pytest.mark.parametrize("function", [magnitude_profile, effective_dimension])
def test_scales(function: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(InputError, match="scales are empty"):
        function(POINTS, [])
    with pytest.raises(InputError, match=r"scale = -1\.0"):
        function(POINTS, [1.0, -1.0])
