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
# A squared distance from a Gram matrix has an error of a few eps (|x|^2 + |y|^2). Pairs with a square below this
# share of |x|^2 are taken from differences of coordinates, which leaves each d a relative error of about 1e-12.
_NEAR = 2e-4
# With more near pairs than this for each point, all pairs are taken from differences.
_NEAR_PAIRS = 16


def row_chunks(points: Float[Tensor, "B n d"]) -> Iterator[slice]:
    """Cut the rows of the n x n matrices of B sets of points into pieces that are handled at once."""
    sets, n, _ = points.shape
    step = max(1, _CHUNK.get(points.device.type, 2**15) // max(1, sets * n))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def distances(points: Float[Tensor, "B n d"], rows: slice, p: float) -> tuple[Float[Tensor, "B rows n"], NearPairs]:
    """Give the distances from some of the points to all of them.

    Returns:
        The distances, exactly zero between coincident points, and the pairs (batch, row, column) of distinct points
        that no matrix product may touch, because their difference would cancel; None means all pairs.
    """
    own = points[:, rows]
    if p == 2:
        square = points.square().sum(-1, keepdim=True)
        own_square = square[:, rows]
        squared = (own_square + square.mT).baddbmm_(own, points.mT, alpha=-2)
        # "Not greater" rather than "less": squares that overflowed are not numbers, and come right below.
        near = (squared > own_square * _NEAR).logical_not_()
        near.diagonal(rows.start, -2, -1).fill_(False)
        count = near.count_nonzero()
        if count <= _NEAR_PAIRS * near[..., 0].numel():
            pairs = near.nonzero().T if count else near.new_empty((3, 0), dtype=torch.long)
            batch, row, column = pairs
            squared[batch, row, column] = (own[batch, row] - points[batch, column]).square().sum(-1)
            squared.diagonal(rows.start, -2, -1).zero_()
            return squared.sqrt_(), pairs
    return torch.cdist(own, points, p=p, compute_mode="donot_use_mm_for_euclid_dist"), None


def pull(
    points: Float[Tensor, "B n d"],
    rows: slice,
    p: float,
    spacing: Float[Tensor, "B rows n"],
    near: NearPairs,
    force: Float[Tensor, "B rows n"],
    left: Float[Tensor, "B rows"],
    right: Float[Tensor, "B n"],
) -> Float[Tensor, "B n d"]:
    """Give sum_ij left_i force_ij right_j grad d(x_i, x_j), i among the rows, the gradient being that of all points.

    Coincident points do not pull each other.

    Args:
        points: all points.
        rows: those that the rows stand for.
        p: the exponent of the distance.
        spacing: what `distances` gave for these rows.
        near: the pairs that came with it.
        force: the derivative by each distance, but for the factors that follow.
        left: the factor of each row.
        right: the factor of each column.
    """
    own, left, right = points[:, rows], left[..., None], right[..., None]
    if near is None:
        tension = (force / spacing ** (p - 1)).masked_fill_(spacing == 0, 0)
        on_own, gradient = torch.empty_like(own), torch.empty_like(points)
        for c in range(points.shape[-1]):
            difference = own[..., None, c] - points[:, None, :, c]
            part = difference.sign().mul_(difference.abs_().pow_(p - 1)).mul_(tension)
            on_own[..., c : c + 1], gradient[..., c : c + 1] = left * (part @ right), -right * (part.mT @ left)
    else:
        batch, row, column = near
        tension = force / spacing
        tension.diagonal(rows.start, -2, -1).zero_()
        close = tension[batch, row, column].masked_fill_(spacing[batch, row, column] == 0, 0)
        tension[batch, row, column] = 0
        to_own, to_all = tension @ _moments(right, points), tension.mT @ _moments(left, own)
        on_own = left * (own * to_own[..., -1:] - to_own[..., :-1])
        gradient = right * (points * to_all[..., -1:] - to_all[..., :-1])
        close = close[:, None] * left[batch, row] * right[batch, column] * (own[batch, row] - points[batch, column])
        on_own.index_put_((batch, row), close, accumulate=True)
        gradient.index_put_((batch, column), -close, accumulate=True)
    gradient[:, rows] += on_own
    return gradient


def _moments(weights: Tensor, points: Tensor) -> Tensor:
    """Weighted coordinates, and the weights as a last column."""
    return torch.cat([weights * points, weights], -1)
