"""Pairwise l_p distances that stay accurate for near twins, and their gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class _Distances(torch.autograd.Function):
    """Distances from differences of coordinates; the gradient at coincident points is zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(points: Tensor, p: float) -> Tensor:
        return torch.cdist(points, points, p=p, compute_mode="donot_use_mm_for_euclid_dist")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        points, ctx.p = inputs
        ctx.save_for_backward(points, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        points, distances = ctx.saved_tensors
        difference = points[..., :, None, :] - points[..., None, :, :]
        apart = distances > 0
        pull = torch.where(apart, grad + grad.mT, 0.0) / torch.where(apart, distances, 1.0) ** (ctx.p - 1)
        if ctx.p == 2:
            slope = difference
        else:
            moved = difference != 0
            slope = torch.where(moved, torch.where(moved, difference, 1.0).abs() ** (ctx.p - 1), 0.0) * difference.sign()
        return (pull[..., None] * slope).sum(-2), None


def pairwise_distances(points: Float[Tensor, "*batch n d"], p: float) -> Float[Tensor, "*batch n n"]:
    """Give the l_p distances between all points, zero on the diagonal."""
    distances: Tensor = _Distances.apply(points, p)
    return distances
