"""Similarity, weighting, magnitude and spread of points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from matcard.invariants._distances import pairwise_distances
from matcard.invariants._inputs import check_order, check_points, check_scale
from matcard.invariants._line import magnitude_on_line
from matcard.invariants._solve import solve_ones

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def similarity(
    points: Float[Tensor, "*batch n d"], scale: float | Float[Tensor, "*#batch"] = 1.0, p: float = 2.0
) -> Float[Tensor, "*batch n n"]:
    """Similarity matrix zeta_ij = exp(-t d_ij)."""
    return _similarity(check_points(points, p), scale, p).to(points)


def weighting(
    points: Float[Tensor, "*batch n d"], scale: float | Float[Tensor, "*#batch"] = 1.0, p: float = 2.0
) -> Float[Tensor, "*batch n"]:
    """Weighting: w with zeta w = 1, equal on coincident points."""
    return solve_ones(_similarity(check_points(points, p), scale, p)).to(points)


def magnitude(
    points: Float[Tensor, "*batch n d"],
    scale: float | Float[Tensor, "*#batch"] = 1.0,
    p: float = 2.0,
    *,
    origin: bool = False,
    method: str = "auto",
) -> Float[Tensor, "*batch"]:
    """Magnitude |tX| = 1' zeta^-1 1; with `origin`, of the points and zero."""
    x = check_points(points, p)
    x = _with_origin(x) if origin else x
    if x.shape[-1] == 1:
        return magnitude_on_line(x[..., 0], scale).to(points)
    return solve_ones(_similarity(x, scale, p)).sum(-1).to(points)


def spread(
    points: Float[Tensor, "*batch n d"],
    scale: float | Float[Tensor, "*#batch"] = 1.0,
    order: float = 0.0,
    p: float = 2.0,
    *,
    origin: bool = False,
    method: str = "auto",
) -> Float[Tensor, "*batch"]:
    """Spread E_q(tX); with `origin`, of the points and zero."""
    check_order(order)
    x = check_points(points, p)
    x = _with_origin(x) if origin else x
    if x.shape[-2] == 0:
        return x.sum((-2, -1)).to(points)
    typicality = _similarity(x, scale, p).mean(-1).log()
    top = typicality.amax(-1, keepdim=True)
    if order == 1:
        return (-typicality.mean(-1)).exp().to(points)
    if math.isinf(order):
        return (-top[..., 0]).exp().to(points)
    top = top.detach()
    power = torch.log1p(torch.expm1((order - 1) * (typicality - top)).mean(-1)) / (order - 1)
    return (-top[..., 0] - power).exp().to(points)


def median_scale(points: Float[Tensor, "*batch n d"], p: float = 2.0) -> Float[Tensor, "*batch"]:
    """Median heuristic: 1 / the median distance between distinct points; 1 where there are none. Detached."""
    x = check_points(points.detach(), p)
    distances = pairwise_distances(x, p)
    distances = torch.where(distances > 0, distances, torch.nan).flatten(-2)
    if distances.shape[-1] == 0:
        return points.new_ones(points.shape[:-2])
    median = distances.nanmedian(-1).values
    return (1 / torch.where(median.isnan(), 1.0, median)).to(points)


def _with_origin(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_zeros(*x.shape[:-2], 1, x.shape[-1])], -2)


def _similarity(x: Tensor, scale: float | Tensor, p: float) -> Tensor:
    return torch.exp(-check_scale(scale, x)[..., None, None] * pairwise_distances(x, p))
