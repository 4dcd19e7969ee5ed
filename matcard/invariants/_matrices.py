"""The invariants of spaces that are given as a matrix of distances or of similarities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from matcard.invariants._inputs import check_distances, check_order, check_scale, check_similarity, restore
from matcard.invariants._solve import weights_of_matrix
from matcard.invariants._spread import spread_of_sums

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def similarity_from_distances(
    distances: Float[Tensor, "*batch n n"], scale: float | Float[Tensor, "*#batch"] = 1.0
) -> Float[Tensor, "*batch n n"]:
    """Similarity matrix exp(-t d_ij) of given distances, which need not come from points.

    Args:
        distances: symmetric, non-negative, zero on the diagonal.
        scale: the dilation t > 0.

    Raises:
        InputError: the matrix is not such a one, or the scale is not positive.
    """
    matrix = check_distances(distances)
    return restore(torch.exp(-check_scale(scale, matrix)[..., None, None] * matrix), distances)


def weighting_from_similarity(similarity: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n"]:
    """Weighting of a given similarity matrix: see `weighting`.

    Args:
        similarity: symmetric, one on the diagonal, entries from 0 to 1, positive definite.

    Raises:
        InputError: the matrix is not such a one.
    """
    return restore(weights_of_matrix(check_similarity(similarity, definite=True)), similarity)


def magnitude_from_similarity(similarity: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """Magnitude of a given similarity matrix: see `magnitude`.

    Args:
        similarity: symmetric, one on the diagonal, entries from 0 to 1, positive definite.

    Raises:
        InputError: the matrix is not such a one.
    """
    return restore(weights_of_matrix(check_similarity(similarity, definite=True)).sum(-1), similarity)


def spread_from_similarity(similarity: Float[Tensor, "*batch n n"], order: float = 0.0) -> Float[Tensor, "*batch"]:
    """Spread of a given similarity matrix: see `spread`.

    Args:
        similarity: symmetric, one on the diagonal, entries from 0 to 1; it need not be positive definite.
        order: q, from 0 to infinity.

    Raises:
        InputError: the matrix is not such a one, or the order is negative or not a number.
    """
    matrix = check_similarity(similarity, definite=False)
    order = check_order(order)
    if matrix.shape[-1] == 0:
        return restore(matrix.sum((-2, -1)), similarity)
    return restore(spread_of_sums(matrix.sum(-1), order), similarity)
