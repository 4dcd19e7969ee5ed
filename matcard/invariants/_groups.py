"""The invariants of many small sets of points at once, each set being a group of the rows.

Points of different groups are taken to be infinitely far apart: the similarity matrix of all is block-diagonal, so that
one factor serves many groups, and their row sums and weights are those of each group alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from matcard.errors import InputError
from matcard.invariants._inputs import check_groups, check_order, check_points, check_scale, restore
from matcard.invariants._points import magnitude, spread
from matcard.invariants._similarity import measure, spread_of_sums
from matcard.invariants._solve import weights_of_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float, Int
    from torch import Tensor

# So many points are taken together: beyond, the zeros between groups cost more than a call saves.
_PACK = 256


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

    def together(x: Tensor, group: Tensor, sizes: Tensor) -> Tensor:
        return x.new_zeros(len(sizes)).index_add(0, group, weights_of_points(x, p, group))

    return _by_pack(points, groups, scale, p, origin, lambda x: magnitude(x, 1.0, p), together)


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

    def together(x: Tensor, group: Tensor, sizes: Tensor) -> Tensor:
        # A row a group: its points stand side by side, and the last of a small group is repeated.
        rows = torch.arange(int(sizes.max()), device=x.device).minimum(sizes[:, None] - 1)
        return spread_of_sums(measure(x, p, group).sum(-1)[rows + (sizes.cumsum(0) - sizes)[:, None]], order, sizes)

    return _by_pack(points, groups, scale, p, origin, lambda x: spread(x, 1.0, order, p), together)


def _by_pack(
    points: Tensor,
    groups: Tensor,
    scale: float | Tensor,
    p: float,
    origin: bool,
    alone: Callable[[Tensor], Tensor],
    together: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Sort the dilated points by group, and take each pack of groups together, or a large group alone."""
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
    groups, order = groups.sort(stable=True)
    x, start, found = x[order], 0, [x.new_zeros(0)]
    for pack in _packs(counts := sizes.tolist()):
        rows = slice(start, start := start + sum(counts[pack]))
        if pack.stop - pack.start == 1:
            found.append(alone(x[rows])[None])
        else:
            found.append(together(x[rows], groups[rows] - pack.start, sizes[pack]))
    return restore(torch.cat(found), points)


def _packs(sizes: list[int]) -> Iterator[slice]:
    """Cut groups into runs of at most `_PACK` points, or of one group."""
    start = total = 0
    for group, size in enumerate(sizes):
        if group > start and total + size > _PACK:
            yield slice(start, group)
            start, total = group, 0
        total += size
    if sizes:
        yield slice(start, len(sizes))
