"""What depends on the scale: the magnitude function, its growth, and a scale that suits the points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from matcard.errors import InputError
from matcard.invariants._distances import distances
from matcard.invariants._inputs import check_points, check_scale, restore
from matcard.invariants._points import Method, magnitude

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

# The median of the distances within so many points is taken for that of all.
_MEDIAN_POINTS = 2048


def magnitude_profile(
    points: Float[Tensor, "*batch n d"],
    scales: Sequence[float] | Float[Tensor, " T"],
    p: float = 2.0,
    *,
    method: Method = "auto",
) -> Float[Tensor, "*batch T"]:
    """Magnitude function t -> |tX| at the given scales, one matrix at a time.

    Args:
        points: n points of d coordinates.
        scales: the dilations t > 0.
        p: the exponent of the l_p distance, 1 to 2.
        method: see `magnitude`.

    Raises:
        InputError: as `magnitude` does, and no scales.
    """
    return torch.stack([magnitude(points, t, p, method=method) for t in _scales(scales)], -1)


def effective_dimension(
    points: Float[Tensor, "*batch n d"],
    scales: Sequence[float] | Float[Tensor, " T"],
    p: float = 2.0,
    *,
    method: Method = "auto",
) -> Float[Tensor, "*batch T"]:
    """Instantaneous dimension d log|tX| / d log t at the given scales (Willerton 2009, arXiv:0910.5500).

    It is near 0 where the set looks like one point or like n separate ones, and near the dimension of the shape
    that the points sample where the scale resolves that shape.

    Args:
        points: n points of d coordinates; the result is not differentiated with respect to them.
        scales: the dilations t > 0.
        p: the exponent of the l_p distance, 1 to 2.
        method: see `magnitude`.

    Raises:
        InputError: as `magnitude` does, and no scales.
    """
    x, slopes = check_points(points.detach(), p), []
    with torch.enable_grad():
        for t in _scales(scales):
            scale = check_scale(t, x).detach().expand(x.shape[:-2]).clone().requires_grad_()
            value = magnitude(x, scale, p, method=method)
            (growth,) = torch.autograd.grad(value.log().sum(), scale)
            slopes.append(restore((growth * scale).detach(), points))
    return torch.stack(slopes, -1)


def median_scale(points: Float[Tensor, "*batch n d"], p: float = 2.0) -> Float[Tensor, "*batch"]:
    """Median heuristic: one over the median distance between points that do not coincide; no gradient.

    It is 1 where all points coincide. Beyond 2048 points an evenly spaced part of them stands for all.

    Args:
        points: n points of d coordinates.
        p: the exponent of the l_p distance, 1 to 2.

    Raises:
        InputError: p outside [1, 2], or points of a wrong shape or dtype.
    """
    x = check_points(points.detach(), p)
    x = x[..., :: 1 + max(0, x.shape[-2] - 1) // _MEDIAN_POINTS, :]
    sets = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    n = sets.shape[1]
    if n < 2 or not len(sets):
        return points.new_ones(points.shape[:-2])
    row, column = torch.triu_indices(n, n, offset=1, device=x.device)
    spacing = distances(sets, slice(0, n), p)[0][:, row, column]
    # Set by set: the median along a dimension has no deterministic way on a GPU.
    median = torch.stack([each.nanmedian() for each in spacing.masked_fill(spacing == 0, torch.nan)])
    limits = torch.finfo(points.dtype)
    scale = torch.where(median.isnan(), 1.0, 1 / median).clamp(limits.tiny, limits.max)
    return restore(scale.view(points.shape[:-2]), points)


def _scales(scales: Sequence[float] | Tensor) -> Sequence[float] | Tensor:
    if len(scales) == 0:
        raise InputError("scales are empty; expected at least one number t > 0")
    return scales
