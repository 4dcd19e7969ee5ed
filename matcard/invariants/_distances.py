"""l_p distances within a set of points, row by row, accurate for near twins, and how they pull on the points."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float, Int
    from torch import Tensor

    NearPairs: TypeAlias = Int[Tensor, "3 pairs"] | None

# Entries of the matrix handled at once: what the cache of a core holds, or what fills a GPU.
_CHUNK = {"cpu": 2**17, "cuda": 2**24}
# Fewer rows than this would leave the matrix product to wait for memory.
_LEAST_ROWS = 256
# A squared distance from a Gram matrix has an error of a few eps (|x|^2 + |y|^2). Pairs with a square below this
# share of |x|^2 are taken from differences of coordinates, which leaves each d a relative error of about 1e-12.
_NEAR = 2e-4
# With more near pairs than this for each point, all pairs are taken from differences.
_NEAR_PAIRS = 16


def row_chunks(points: Float[Tensor, "B n d"]) -> Iterator[slice]:
    """Cut the rows of the n x n matrices of B sets of points into pieces that are handled at once."""
    sets, n, _ = points.shape
    step = max(_LEAST_ROWS, _CHUNK.get(points.device.type, _CHUNK["cpu"]) // max(1, sets * n))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def distances(
    points: Float[Tensor, "B n d"], rows: slice, p: float, groups: Int[Tensor, " n"] | None = None
) -> tuple[Float[Tensor, "B rows n"], NearPairs]:
    """Give the distances from some of the points to all of them.

    Args:
        points: all points.
        rows: those whose distances are asked for.
        p: the exponent of the distance.
        groups: points of different groups are infinitely far apart.

    Returns:
        The distances, exactly zero between coincident points, and the pairs (batch, row, column) of distinct points
        that no matrix product may touch, because their difference would cancel; None means all pairs.
    """
    own = points[:, rows]
    apart = None if groups is None else groups[rows, None] != groups
    if p == 2:
        square = points.square().sum(-1, keepdim=True)
        own_square, ones = square[:, rows], torch.ones_like(square)
        # |x|^2 + |y|^2 - 2 x.y in one product.
        squared = torch.cat([own, own_square, ones[:, rows]], -1) @ torch.cat([-2 * points, ones, square], -1).mT
        smallest = own_square * _NEAR
        squared.diagonal(rows.start, -2, -1).fill_(torch.inf)
        if apart is not None:
            squared.masked_fill_(apart, torch.inf)
        pairs = squared.new_empty((3, 0), dtype=torch.long)
        # "Not greater" rather than "less": squares that overflowed are not numbers, and come right below.
        if not (squared.amin(-1, keepdim=True) > smallest).all():
            pairs = (squared > smallest).logical_not_().nonzero().T
        if pairs.shape[1] <= _NEAR_PAIRS * squared[..., 0].numel():
            if pairs.shape[1]:
                batch, row, column = pairs
                squared[batch, row, column] = (own[batch, row] - points[batch, column]).square().sum(-1)
            squared.diagonal(rows.start, -2, -1).zero_()
            return squared.sqrt_(), pairs
    spacing = torch.cdist(own, points, p=p, compute_mode="donot_use_mm_for_euclid_dist")
    return spacing if apart is None else spacing.masked_fill_(apart, torch.inf), None


def pull(
    points: Float[Tensor, "B n d"],
    rows: slice,
    p: float,
    spacing: Float[Tensor, "B rows n"],
    near: NearPairs,
    force: Float[Tensor, "B rows n"],
    left: Float[Tensor, "B n"],
    right: Float[Tensor, "B n"],
) -> Float[Tensor, "B rows d"]:
    """Give the gradient of sum_ij left_i force_ij right_j d(x_i, x_j) with respect to some of the points.

    The forces are symmetric, so that the rows of these points hold all that pulls on them. Coincident points do not
    pull each other.

    Args:
        points: all points.
        rows: those that are asked for.
        p: the exponent of the distance.
        spacing: what `distances` gave for these rows.
        near: the pairs that came with it.
        force: the weights of the distances of these rows; it is overwritten.
        left: a factor a point.
        right: another one.
    """
    alike = left is right
    own, left, right = points[:, rows], left[..., None], right[..., None]
    own_left, own_right = left[:, rows], right[:, rows]
    if near is None:
        tension = force.div_(spacing ** (p - 1)).masked_fill_(spacing == 0, 0)
        gradient = torch.empty_like(own)
        for c in range(points.shape[-1]):
            difference = own[..., None, c] - points[:, None, :, c]
            part = difference.sign().mul_(difference.abs_().pow_(p - 1)).mul_(tension)
            gradient[..., c : c + 1] = own_left * (part @ right) + own_right * (part @ left)
        return gradient
    tension = force.div_(spacing)
    tension.diagonal(rows.start, -2, -1).zero_()
    gradient = torch.zeros_like(own)
    if near.shape[1]:
        batch, row, column = near
        close = tension[batch, row, column].masked_fill_(spacing[batch, row, column] == 0, 0)
        tension[batch, row, column] = 0
        close *= (own_left[batch, row] * right[batch, column] + own_right[batch, row] * left[batch, column])[:, 0]
        apart = close[:, None] * (own[batch, row] - points[batch, column])
        gradient.index_put_((batch, row), apart, accumulate=True)
    # sum_j T_ij f_j (x_i - x_j) for both factors f, each by one product with f and f x.
    by_right = tension @ torch.cat([right, right * points], -1)
    by_left = by_right if alike else tension @ torch.cat([left, left * points], -1)
    gradient += own_left * (own * by_right[..., :1] - by_right[..., 1:])
    gradient += own_right * (own * by_left[..., :1] - by_left[..., 1:])
    return gradient
