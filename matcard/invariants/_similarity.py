"""The similarity matrix exp(-d) of points, its row sums and their spread, and the gradient of what comes of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from matcard.invariants._distances import distances, pull

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.invariants._distances import NearPairs


class Spacing(NamedTuple):
    """The distances between points, and the pairs that no matrix product may touch."""

    distances: Float[Tensor, "*batch n n"]
    near: NearPairs


def spacing_of(points: Float[Tensor, "*batch n d"], p: float, groups: Int[Tensor, " n"] | None = None) -> Spacing:
    """Give the distances between points, not differentiable; those between different groups are infinite."""
    apart, near = distances(_flat(points), slice(0, points.shape[-2]), p, groups)
    return Spacing(apart.view(*points.shape[:-1], points.shape[-2]), near)


def similarity_of(spacing: Spacing) -> Float[Tensor, "*batch n n"]:
    """Give exp(-d), not differentiable."""
    return spacing.distances.neg().exp_()


class _Measure(torch.autograd.Function):
    """zeta = exp(-d) of float64 points, and the spacing that it was made from; only the first is differentiable."""

    @staticmethod
    def forward(points: Tensor, p: float, groups: Tensor | None) -> tuple[Tensor, Tensor, NearPairs]:
        spacing = spacing_of(points, p, groups)
        return similarity_of(spacing), *spacing

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        points, *spacing = ctx.saved_tensors
        ones = points.new_ones(points.shape[:-1])
        return form_gradient(points, ctx.p, Spacing(*spacing), ones, ones, (grad + grad.mT) / 2), None, None

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, float, Tensor | None], output: tuple[Tensor, Tensor, NearPairs]
    ) -> None:
        points, ctx.p, _ = inputs
        ctx.save_for_backward(points, *output[1:])
        ctx.mark_non_differentiable(*(value for value in output[1:] if value is not None))

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, None, None], points: Tensor, p: float, groups: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor, NearPairs], tuple[int, int, None]]:
        return _measure(points.movedim(in_dims[0], 0), p, groups), (0, 0, None)


_measure: Callable[..., tuple[Tensor, Tensor, NearPairs]] = _Measure.apply


def measure(
    points: Float[Tensor, "*batch n d"], p: float, groups: Int[Tensor, " n"] | None = None
) -> Float[Tensor, "*batch n n"]:
    """Give the similarity matrix, differentiable, of dilated points; those of different groups have similarity 0."""
    return _measure(points, p, groups)[0]


def form_gradient(
    points: Float[Tensor, "*batch n d"],
    p: float,
    spacing: Spacing,
    left: Float[Tensor, "*batch n"],
    right: Float[Tensor, "*batch n"],
    weight: Float[Tensor, "*batch n n"] | None = None,
) -> Float[Tensor, "*batch n d"]:
    """Give the gradient of sum_ij left_i weight_ij zeta_ij right_j, with a symmetric weight.

    It takes few passes over n x n numbers, from dzeta_ij = -zeta_ij dd_ij. zeta is computed anew, which takes no
    longer than to fetch it from memory. Where the gradient is itself to be differentiated, it comes from the plain
    formula.
    """
    if torch.is_grad_enabled():
        near_enough = spacing.distances.isfinite().to(points)
        return differentiable_form_gradient(
            points, p, left, right, near_enough if weight is None else weight * near_enough
        )
    force = similarity_of(spacing)
    if weight is not None:
        force *= weight
    n = points.shape[-2]
    flat_left = left.reshape(-1, n)
    flat_right = flat_left if right is left else right.reshape(-1, n)
    apart, near = spacing
    pulled = pull(_flat(points), slice(0, n), p, _flat(apart), near, _flat(force), flat_left, flat_right)
    return pulled.neg_().view(points.shape)


def differentiable_form_gradient(
    points: Float[Tensor, "*batch n d"],
    p: float,
    left: Float[Tensor, "*batch n"],
    right: Float[Tensor, "*batch n"],
    weight: Float[Tensor, "*batch n n"] | None = None,
) -> Float[Tensor, "*batch n d"]:
    """Give what `form_gradient` gives as a function that autograd can follow, by n x n x d numbers."""

    def form(x: Tensor) -> Tensor:
        zeta = _plain_similarity(x, p)
        return left * ((zeta if weight is None else zeta * weight) @ right[..., None])[..., 0]

    gradient: Tensor = torch.func.vjp(form, points)[1](torch.ones_like(left))[0]
    return gradient


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


def spread_of_sums(
    sums: Float[Tensor, "*batch n"], order: float, sizes: Int[Tensor, " *batch"] | None = None
) -> Float[Tensor, "*batch"]:
    """Give E_q = (mean_i r_i^(q-1))^(1/(1-q)) with r_i = sums_i / n, and its limits at 1 and infinity.

    The logarithm is -m - log(mean_i (r_i e^-m)^(q-1)) / (q-1) for any m. With m the largest log r_i, nothing
    overflows at large q, and expm1 with log1p keep every digit near q = 1.

    Args:
        sums: row sums of the similarity matrix, of at least one point.
        order: q.
        sizes: how many of the sums count, from the first on, where not all do; the rest repeat one of those.
    """
    n = sums.shape[-1] if sizes is None else sizes[..., None]
    shares = (torch.arange(sums.shape[-1], device=sums.device) < n).to(sums.dtype) / n
    typicality = (sums / n).log()
    if order == 1:
        return (-(shares * typicality).sum(-1)).exp()
    if math.isinf(order):
        # What repeats a sum takes no part, or equal largest ones would not share the gradient evenly.
        return (-torch.where(shares > 0, typicality, -math.inf).amax(-1)).exp()
    top = typicality.detach().amax(-1, keepdim=True)
    power = torch.log1p((shares * torch.expm1((order - 1) * (typicality - top))).sum(-1))
    return (-top[..., 0] - power / (order - 1)).exp()
