"""What each of many points counts for: its share of the spread, its weight in the magnitude, one over the density."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch

from matcard.errors import InputError
from matcard.invariants import _matrix_free
from matcard.invariants._distances import distances, row_chunks
from matcard.invariants._inputs import check_groups, check_points, check_scale, restore
from matcard.invariants._points import DENSE_LIMIT, weighting

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

Kernel: TypeAlias = Literal["gaussian", "ball"]

SHARES_LIMIT = 100_000
"""Beyond so many points the shares are refused: their time grows as the square of the number."""


def shares(
    points: Float[Tensor, "n d"],
    scale: float | Float[Tensor, ""] = 1.0,
    p: float = 2.0,
    *,
    groups: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, " n"]:
    """Share of each point in the spread: w_i = 1 / sum_j exp(-t d_ij), so that sum_i w_i = E_0 (Willerton 2015).

    It lies between 1/n (all points coincide) and 1 (nothing is near). n copies of a point have together the share
    n / (n + s), where s is the similarity of one of them to all others. The matrix is made in blocks of rows and
    never kept: memory grows as n, time as n^2. Computed in float64, with no error but rounding.

    Args:
        points: n points of d coordinates, in any floating precision, on any device.
        scale: the dilation t > 0, in units of one over distance.
        p: the exponent of the l_p distance, 1 to 2.
        groups: a whole number for each point; points of different groups are infinitely far apart.

    Raises:
        InputError: p outside [1, 2], a scale that is not positive, points or groups of a wrong shape or dtype, or
            more than 100,000 points.
    """
    x = _one_set(points, p, SHARES_LIMIT)
    return restore(_by_group(x * check_scale(scale, x), groups, lambda x: 1 / _matrix_free.row_sums(x, p)), points)


def clipped_weighting(
    points: Float[Tensor, "n d"],
    scale: float | Float[Tensor, ""] = 1.0,
    p: float = 2.0,
    *,
    groups: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, " n"]:
    """Weighting of the magnitude (see `weighting`) with 0 in place of negative weights.

    Exact copies have together the weight that one of them alone would have. A point amid others can have a negative
    weight: it then counts for nothing, and a cloud of near copies for more than one, as its other weights are larger.

    Args:
        points: n points of d coordinates, in any floating precision, on any device.
        scale: the dilation t > 0, in units of one over distance.
        p: the exponent of the l_p distance, 1 to 2.
        groups: a whole number for each point; points of different groups are infinitely far apart.

    Raises:
        InputError: as `shares` does, beyond 10,000 points, since the matrix is kept and factorised.
    """
    x = _one_set(points, p, DENSE_LIMIT, "draw a part of them, or take `shares`, which keeps no matrix")
    x = x * check_scale(scale, x)
    return restore(_by_group(x, groups, lambda x: weighting(x, 1.0, p, method="dense").clamp(min=0)), points)


def inverse_density(
    points: Float[Tensor, "n d"],
    radius: float | Float[Tensor, ""] = 1.0,
    kernel: Kernel = "gaussian",
    p: float = 2.0,
    *,
    groups: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, " n"]:
    """One over the number of points near each: the rivals of `shares`, which are the same for k(d) = exp(-t d).

    w_i = 1 / sum_j k(d_ij / r), where k is exp(-x^2 / 2) for `gaussian`, and 1 up to x = 1 for `ball`.

    Args:
        points: n points of d coordinates, in any floating precision, on any device; no gradient is given.
        radius: r > 0.
        kernel: `gaussian` or `ball`.
        p: the exponent of the l_p distance, 1 to 2.
        groups: a whole number for each point; points of different groups are infinitely far apart.

    Raises:
        InputError: as `shares` does, and a kernel that there is not.
    """
    if kernel not in get_args(Kernel):
        raise InputError(f"kernel = {kernel!r}: expected one of {', '.join(get_args(Kernel))}")
    if not isinstance(radius, torch.Tensor) and not (math.isfinite(radius) and radius > 0):
        raise InputError(f"radius = {radius}: expected a positive, finite number")
    x = _one_set(points.detach(), p, SHARES_LIMIT)

    def near(spacing: Tensor) -> Tensor:
        return (spacing <= 1).to(spacing) if kernel == "ball" else spacing.square_().div_(-2).exp_()

    def density(each: Tensor) -> Tensor:
        return 1 / _matrix_free.kernel_sums(each, p, near, each.new_ones(len(each)))

    return restore(_by_group(x / check_scale(radius, x), groups, density), points)


def near_copies(
    points: Float[Tensor, "n d"],
    radius: float,
    p: float = 2.0,
    *,
    groups: Int[Tensor, " n"] | None = None,
) -> Int[Tensor, " n"]:
    """Say of which earlier point each is a near copy, going through them in order: -1 for those that are kept.

    A point is kept if no kept one lies within the radius; otherwise it is a copy of the nearest of those.

    Args:
        points: n points of d coordinates, in any floating precision, on any device.
        radius: how far a copy is, at most; 0 for exact copies alone.
        p: the exponent of the l_p distance, 1 to 2.
        groups: a whole number for each point; a copy is one of the same group.

    Raises:
        InputError: as `shares` does, and a radius that is negative or not finite.
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise InputError(f"radius = {radius}: expected a finite number, 0 or more")
    x = _one_set(points.detach(), p, SHARES_LIMIT)
    groups = None if groups is None else check_groups(groups, x)
    original = torch.full((len(x),), -1, dtype=torch.long)
    for rows in row_chunks(x[None]):
        spacing, _ = distances(x[None, : rows.stop], rows, p, None if groups is None else groups[: rows.stop])
        near = (spacing[0] <= radius).tril_(rows.start - 1)
        for k in near.any(dim=1).nonzero()[:, 0].tolist():
            earlier = near[k].nonzero()[:, 0].cpu()
            kept = earlier[original[earlier] < 0]
            if len(kept):
                original[rows.start + k] = kept[spacing[0, k, kept.to(x.device)].argmin().cpu()]
    return original.to(points.device)


def sum_by_class(weights: Float[Tensor, " n"], classes: Int[Tensor, " n"], num_classes: int) -> Float[Tensor, " C"]:
    """Sum of the weights of each class: with `shares`, how many distinct points a class has at that scale.

    Args:
        weights: a number for each point, such as `shares`, `clipped_weighting` or the probability to be drawn.
        classes: the class of each point, from 0 to C - 1; a class may have no points.
        num_classes: C.

    Raises:
        InputError: not one number and one class a point, or a class outside 0 to C - 1.
    """
    if weights.ndim != 1:
        raise InputError(f"weights have shape {tuple(weights.shape)}; expected (n,), a number for each point")
    classes = check_groups(classes, weights, "classes")
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise InputError(
            f"classes run from {int(classes.min())} to {int(classes.max())}; expected 0 to {num_classes - 1}"
        )
    return weights.new_zeros(num_classes).index_add(0, classes.long(), weights)


def _by_group(x: Tensor, groups: Tensor | None, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Give the function's numbers of all points, or of each group of points by itself."""
    if len(x) == 0:
        return x.sum(-1)
    if groups is None:
        return function(x)
    groups, found = check_groups(groups, x), x.new_zeros(len(x))
    for group in torch.unique(groups):
        members = (groups == group).nonzero()[:, 0]
        found = found.index_copy(0, members, function(x[members]))
    return found


def _one_set(points: Tensor, p: float, limit: int, advice: str = "draw a part of them") -> Float[Tensor, "n d"]:
    x = check_points(points, p)
    if x.ndim != 2:
        raise InputError(f"points have shape {tuple(x.shape)}; expected (n, d), one set of points")
    if len(x) > limit:
        raise InputError(f"{len(x):,} points have {len(x):,} x {len(x):,} distances, {limit:,} are taken: {advice}")
    return x
