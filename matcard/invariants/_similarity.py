"""The similarity matrix exp(-t d) of points, and the gradient of what is computed from it."""

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
    """zeta = exp(-t d) of float64 points and a scale for each set of them; only zeta is differentiable."""

    @staticmethod
    def forward(points: Tensor, scale: Tensor, p: float) -> tuple[Tensor, Tensor, NearPairs]:
        x = _flat(points)
        spacing, near = distances(x, slice(0, x.shape[-2]), p)
        spacing = spacing.view(*points.shape[:-1], points.shape[-2])
        return (spacing * -scale[..., None, None]).exp_(), spacing, near

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: tuple[Tensor, Tensor, NearPairs]) -> None:
        points, scale, ctx.p = inputs
        ctx.save_for_backward(points, scale, *output)
        ctx.mark_non_differentiable(*(value for value in output[1:] if value is not None))

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor | None, None]:
        points, scale, *measured = ctx.saved_tensors
        ones = points.new_ones(points.shape[:-1])
        with_scale = ctx.needs_input_grad[1]
        return *form_gradient(points, scale, ctx.p, Measured(*measured), ones, ones, with_scale, grad), None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, int | None, None], points: Tensor, scale: Tensor, p: float
    ) -> tuple[tuple[Tensor, Tensor, NearPairs], tuple[int, int, None]]:
        points, scale = (
            value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            for value, dim in zip((points, scale), in_dims, strict=False)
        )
        return _measure(points, scale, p), (0, 0, None)


_measure: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor, NearPairs]] = _Measure.apply


def measure(points: Float[Tensor, "*batch n d"], scale: Float[Tensor, "*batch"], p: float) -> Measured:
    """Give the similarity matrix, differentiable, of float64 points, and what it was made from."""
    return Measured(*_measure(points, scale, p))


def form_gradient(
    points: Float[Tensor, "*batch n d"],
    scale: Float[Tensor, "*batch"],
    p: float,
    measured: Measured,
    left: Float[Tensor, "*batch n"],
    right: Float[Tensor, "*batch n"],
    with_scale: bool,
    weight: Float[Tensor, "*batch n n"] | None = None,
) -> tuple[Float[Tensor, "*batch n d"], Float[Tensor, "*batch"] | None]:
    """Give the gradient of sum_ij left_i weight_ij zeta_ij right_j with respect to points and, if asked, scale.

    Two passes over n x n numbers, from dzeta_ij = -zeta_ij (t dd_ij + d_ij dt). Where the gradient is itself to be
    differentiated, it comes from the plain formula.
    """
    if torch.is_grad_enabled():

        def form(x: Tensor, t: Tensor) -> Tensor:
            zeta = _plain_similarity(x, t, p)
            return left * ((zeta if weight is None else zeta * weight) @ right[..., None])[..., 0]

        on_points, on_scale = torch.func.vjp(form, points, scale)[1](torch.ones_like(left))
        return on_points, on_scale
    similarity, spacing, near = measured
    force = similarity if weight is None else similarity * weight
    n = points.shape[-2]
    pulled = pull(
        _flat(points), slice(0, n), p, _flat(spacing), near, _flat(force), left.reshape(-1, n), right.reshape(-1, n)
    )
    on_scale = -(left * ((force * spacing) @ right[..., None])[..., 0]).sum(-1) if with_scale else None
    return pulled.view(points.shape) * -scale[..., None, None], on_scale


def _flat(values: Tensor) -> Tensor:
    return values.reshape(math.prod(values.shape[:-2]), *values.shape[-2:])


def _plain_similarity(points: Tensor, scale: Tensor, p: float) -> Tensor:
    """Similarity by broadcasting, with n x n x d numbers; its derivatives at coincident points are zero."""
    difference = (points[..., :, None, :] - points[..., None, :, :]).abs()
    total = _safe_power(difference, p).sum(-1)
    return torch.exp(-scale[..., None, None] * _safe_power(total, 1 / p))


def _safe_power(values: Tensor, exponent: float) -> Tensor:
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1.0) ** exponent, 0.0)
