"""The invariants of many small sets of points at once, each set being a group of the rows.

Points of different groups are taken to be infinitely far apart: the similarity matrix of all is block-diagonal, so that
one factor serves all groups, and their row sums and weights are those of each group alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from matcard.errors import InputError
from matcard.invariants._inputs import check_groups, check_order, check_points, check_scale, restore
from matcard.invariants._similarity import measure, spread_of_group_sums
from matcard.invariants._solve import weights_of_points

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def magnitude_of_groups(
    points: Float[Tensor, "n d"],
    groups: Int[Tensor, " n"],
    scale: float | Float[Tensor, ""] = 1.0,
    p: float = 2.0,
    *,
    origin: bool = False,
) -> Float[Tensor, " G"]:
    """Magnitude of each group of points: see `magnitude`.

    Args:
        points: n points of d coordinates, in any floating precision.
        groups: the group of each point, from 0 to G - 1, none of them empty.
        scale: the dilation t > 0, the same for all groups.
        p: the exponent of the l_p distance, 1 to 2.
        origin: whether zero counts as one more point of each group.

    Raises:
        InputError: as `magnitude` does, and groups that are not one whole number a point or leave out a number.
    """
    x, groups, sizes = _grouped(points, groups, scale, p, origin)
    if not len(x):
        return points.sum(-1)
    return restore(x.new_zeros(len(sizes)).index_add(0, groups, weights_of_points(x, p, groups)), points)


def spread_of_groups(
    points: Float[Tensor, "n d"],
    groups: Int[Tensor, " n"],
    scale: float | Float[Tensor, ""] = 1.0,
    order: float = 0.0,
    p: float = 2.0,
    *,
    origin: bool = False,
) -> Float[Tensor, " G"]:
    """Spread of each group of points: see `spread`.

    Args:
        points: n points of d coordinates, in any floating precision.
        groups: the group of each point, from 0 to G - 1, none of them empty.
        scale: the dilation t > 0, the same for all groups.
        order: q, from 0 to infinity.
        p: the exponent of the l_p distance, 1 to 2.
        origin: whether zero counts as one more point of each group.

    Raises:
        InputError: as `spread` does, and groups that are not one whole number a point or leave out a number.
    """
    order = check_order(order)

    x, groups, sizes = _grouped(points, groups, scale, p, origin)
    if not len(x):
        return points.sum(-1)
    return restore(spread_of_group_sums(measure(x, p, groups)[0].sum(-1), groups, sizes, order), points)


def _grouped(
    points: Tensor, groups: Tensor, scale: float | Tensor, p: float, origin: bool
) -> tuple[Float[Tensor, "m d"], Int[Tensor, " m"], Int[Tensor, " G"]]:
    """Check all; give the dilated points, with an origin a group if asked for, their groups and the groups' sizes."""
    x = check_points(points, p)
    if x.ndim != 2:
        raise InputError(f"points of shape {tuple(x.shape)} cannot be grouped; expected (n, d), one set of points")
    groups = check_groups(groups, x)
    if len(groups) and (int(groups.min()) < 0 or int(groups.bincount().min()) == 0):
        raise InputError("groups leave out a number or are negative; expected 0 to G - 1, each at least once")
    x, sizes = x * check_scale(scale, x), groups.bincount()
    if origin:
        x = torch.cat([x, x.new_zeros(len(sizes), x.shape[1])])
        groups, sizes = torch.cat([groups, torch.arange(len(sizes), device=groups.device)]), sizes + 1
    return x, groups, sizes
