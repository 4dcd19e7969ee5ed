"""What every invariant does with its input: check it, and carry it to float64 and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_DISTANCES = "a matrix of distances"
_SIMILARITY = "a similarity matrix"


def to_double(values: Tensor) -> Tensor:
    """Give the values in float64, on the CPU where the device has none (Apple's MPS).

    Autocast leaves float64 tensors alone, so everything computed from the result stays in float64.
    """
    return (values.cpu() if values.device.type == "mps" else values).double()


def restore(values: Tensor, like: Tensor) -> Tensor:
    """Give the values in the precision and then on the device of the input."""
    return values.to(like.dtype).to(like.device)


def check_points(points: Float[Tensor, "*batch n d"], p: float) -> Float[Tensor, "*batch n d"]:
    """Give the points in float64, or refuse them and the exponent p.

    Infinite coordinates become ones that are no numbers: a point there would give a value without a gradient.

    Raises:
        InputError: the points are no (..., n, d) tensor of floats, or p lies outside [1, 2].
    """
    if points.ndim < 2:
        raise InputError(
            f"points have shape {tuple(points.shape)}; expected (..., n, d), n points of d coordinates: "
            "give numbers on a line as points[:, None]"
        )
    if not points.is_floating_point():
        raise InputError(f"points have dtype {points.dtype}; expected floating point: call points.float() first")
    if not 1 <= p <= 2:
        raise InputError(
            f"p = {p}: expected 1 <= p <= 2, because beyond 2 the similarity matrix of distinct points need not be "
            "positive definite (and below 1 there is no metric), so that their magnitude may not exist"
        )
    x = to_double(points)
    return torch.where(x.isfinite(), x, torch.nan)


def check_scale(scale: float | Float[Tensor, "*#batch"], like: Tensor) -> Float[Tensor, "*#batch"]:
    """Give the scale as a float64 tensor beside `like`.

    A tensor's values are not looked at, since that would make the CPU wait for the device.

    Raises:
        InputError: a number that is not positive and finite.
    """
    if isinstance(scale, torch.Tensor):
        return to_double(scale).to(like.device)
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"scale = {scale}: expected a positive, finite number")
    return like.new_tensor(scale)


def check_order(order: float) -> float:
    """Give the order of a spread.

    Raises:
        InputError: it is negative or not a number.
    """
    if not order >= 0:
        raise InputError(f"order = {order}: expected a number from 0 to infinity, both included")
    return float(order)


def check_groups(groups: Int[Tensor, " n"], values: Float[Tensor, "n ..."], what: str = "groups") -> Int[Tensor, " n"]:
    """Give the group of each point on the device of the points.

    Raises:
        InputError: they are not one whole number for each.
    """
    if groups.shape != values.shape[:1] or groups.is_floating_point():
        raise InputError(
            f"{what} have shape {tuple(groups.shape)} and dtype {groups.dtype} with {len(values)} points; expected a "
            "whole number for each"
        )
    return groups.to(values.device)


def check_distances(distances: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Give a matrix of distances in float64.

    Raises:
        InputError: it is not square, symmetric, non-negative and zero on the diagonal.
    """
    matrix = _check_symmetric(distances, _DISTANCES, diagonal=0.0)
    if (matrix < 0).any():
        raise InputError(f"{_DISTANCES} holds a negative entry; expected distances >= 0")
    return matrix


def check_similarity(similarity: Float[Tensor, "*batch n n"], definite: bool) -> Float[Tensor, "*batch n n"]:
    """Give a similarity matrix in float64.

    Args:
        similarity: the matrix.
        definite: whether what is to be computed needs it positive definite.

    Raises:
        InputError: it is not square, symmetric and one on the diagonal, has an entry outside [0, 1], or has an
            eigenvalue below what rounding can explain.
    """
    matrix = _check_symmetric(similarity, _SIMILARITY, diagonal=1.0)
    if ((matrix < 0) | (matrix > 1)).any():
        raise InputError(f"{_SIMILARITY} holds an entry outside [0, 1]; expected exp(-distance) or its like")
    if definite and matrix.numel():
        rounding = matrix.shape[-1] * torch.finfo(similarity.dtype).eps
        lifted = matrix.detach() + rounding * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        if torch.linalg.cholesky_ex(lifted).info.any():
            lowest = torch.linalg.eigvalsh(matrix.detach())[..., 0].min().item()
            raise InputError(
                f"{_SIMILARITY} has the eigenvalue {lowest:.3g}; expected it positive definite, without which there "
                "need be no magnitude: use spread, which does not need it, or another metric"
            )
    return matrix


def _check_symmetric(matrix: Tensor, name: str, diagonal: float) -> Tensor:
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or not matrix.is_floating_point():
        raise InputError(
            f"{name} has shape {tuple(matrix.shape)} and dtype {matrix.dtype}; expected square and floating point"
        )
    if not torch.isfinite(matrix).all():
        raise InputError(f"{name} holds a value that is not finite")
    # A matrix from rounded arithmetic need only be right to its own precision.
    tolerance = 8 * torch.finfo(matrix.dtype).eps
    if not torch.allclose(matrix, matrix.mT, rtol=tolerance, atol=tolerance):
        raise InputError(f"{name} is not symmetric; expected the same entry at (i, j) and (j, i)")
    if not torch.allclose(matrix.diagonal(dim1=-2, dim2=-1), matrix.new_tensor(diagonal), rtol=0, atol=tolerance):
        raise InputError(
            f"{name} has a diagonal other than {diagonal:g}: expected each point at no distance from itself"
        )
    return to_double(matrix)
