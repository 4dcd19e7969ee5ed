"""The similarity matrix exp(-d) of points, and the gradient of what is computed from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from matcard.invariants._distances import distances, pull

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float
    from torch import Tensor

    from matcard.invariants._distances import NearPairs


class Measured(NamedTuple):
    """A similarity matrix, with the distances it was made from and their near pairs."""

    similarity: Float[Tensor, "*batch n n"]
    spacing: Float[Tensor, "*batch n n"]
    near: NearPairs


class _Measure(torch.autograd.Function):
    """zeta = exp(-d) of float64 points; only zeta is differentiable."""

    @staticmethod
    def forward(points: Tensor, p: float) -> tuple[Tensor, Tensor, NearPairs]:
        spacing, near = distances(_flat(points), slice(0, points.shape[-2]), p)
        spacing = spacing.view(*points.shape[:-1], points.shape[-2])
        return spacing.neg().exp_(), spacing, near

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor, NearPairs]) -> None:
        points, ctx.p = inputs
        ctx.save_for_backward(points, *output)
        ctx.mark_non_differentiable(*(value for value in output[1:] if value is not None))

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        points, *measured = ctx.saved_tensors
        ones = points.new_ones(points.shape[:-1])
        return form_gradient(points, ctx.p, Measured(*measured), ones, ones, (grad + grad.mT) / 2), None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, None], points: Tensor, p: float
    ) -> tuple[tuple[Tensor, Tensor, NearPairs], tuple[int, int, None]]:
        return _measure(points.movedim(in_dims[0], 0), p), (0, 0, None)


_measure: Callable[[Tensor, float], tuple[Tensor, Tensor, NearPairs]] = _Measure.apply


def measure(points: Float[Tensor, "*batch n d"], p: float) -> Measured:
    """Give the similarity matrix, differentiable, of dilated points, and what it was made from."""
    return Measured(*_measure(points, p))


def form_gradient(
    points: Float[Tensor, "*batch n d"],
    p: float,
    measured: Measured,
    left: Float[Tensor, "*batch n"],
    right: Float[Tensor, "*batch n"],
    weight: Float[Tensor, "*batch n n"] | None = None,
) -> Float[Tensor, "*batch n d"]:
    """Give the gradient of sum_ij left_i weight_ij zeta_ij right_j, with a symmetric weight.

    It takes two passes over n x n numbers, from dzeta_ij = -zeta_ij dd_ij. Where it is itself to be differentiated,
    it comes from the plain formula.
    """
    if torch.is_grad_enabled():

        def form(x: Tensor) -> Tensor:
            zeta = _plain_similarity(x, p)
            return left * ((zeta if weight is None else zeta * weight) @ right[..., None])[..., 0]

        gradient: Tensor = torch.func.vjp(form, points)[1](torch.ones_like(left))[0]
        return gradient
    similarity, spacing, near = measured
    force = similarity if weight is None else similarity * weight
    n = points.shape[-2]
    sides = left.reshape(-1, n), right.reshape(-1, n)
    return -pull(_flat(points), slice(0, n), p, _flat(spacing), near, _flat(force), *sides).view(points.shape)


def _flat(values: Tensor) -> Tensor:
    return values.reshape(math.prod(values.shape[:-2]), *values.shape[-2:])


def _plain_similarity(points: Tensor, p: float) -> Tensor:
    """Similarity by broadcasting, with n x n x d numbers; its derivatives at coincident points are zero."""
    difference = (points[..., :, None, :] - points[..., None, :, :]).abs()
    total = _safe_power(difference, p).sum(-1)
    return torch.exp(-_safe_power(total, 1 / p))


def _safe_power(values: Tensor, exponent: float) -> Tensor:
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1.0) ** exponent, 0.0)
