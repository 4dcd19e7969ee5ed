"""The solve zeta w = 1 by one Cholesky factor that serves value, gradient and higher derivatives.

Twins and rounding errors are included: points at similarity 1 share a weight, and a matrix that rounding has made
indefinite is lifted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from matcard.invariants._similarity import (
    Spacing,
    differentiable_form_gradient,
    form_gradient,
    measure,
    similarity_of,
    spacing_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

# Twins leave a pivot of rounding errors, whose root is below 1e-5 for any matrix that fits a memory.
_SMALL_PIVOT = 1e-5


class JitterLog:
    """How often, in this process, a similarity matrix had to be lifted to be factorised: `count`."""

    count = 0


jitter_log = JitterLog()


class _Factor(torch.autograd.Function):
    """A constant factor of a similarity matrix, and for each point the first of its twins."""

    @staticmethod
    def forward(similarity: Tensor) -> tuple[Tensor, Tensor]:
        factor, info = torch.linalg.cholesky_ex(similarity)
        if _sound(factor, info):
            return factor, torch.arange(similarity.shape[-1], device=similarity.device).expand(similarity.shape[:-1])
        return _factorise_with_twins(similarity)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        return None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], similarity: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        return factorise(similarity.movedim(in_dims[0], 0)), (0, 0)


factorise: Callable[[Tensor], tuple[Tensor, Tensor]] = _Factor.apply


def factor_alone(spacing: Spacing) -> Float[Tensor, "*batch n n"]:
    """Give the factor of exp(-d) without the twins; on the CPU it takes the memory of the one matrix."""
    # The transpose is the same matrix in the order that LAPACK wants.
    matrix = similarity_of(spacing).mT
    if matrix.device.type == "cpu":
        # LAPACK works in place on what was copied from the input to the output: here both are one already.
        info = torch.empty(matrix.shape[:-2], dtype=torch.int32)
        factor, info = torch.linalg.cholesky_ex(matrix, out=(matrix, info))
    else:
        factor, info = torch.linalg.cholesky_ex(matrix)
    return factor if _sound(factor, info) else _factorise_with_twins(similarity_of(spacing))[0]


def _sound(factor: Tensor, info: Tensor) -> bool:
    return not ((info > 0) | (factor.diagonal(dim1=-2, dim2=-1) < _SMALL_PIVOT).any(-1)).any()


def _factorise_with_twins(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Give the Cholesky factor of zeta + 1 - (mean over twins), and who is whose twin.

    Points at similarity 1 make zeta singular. The projection on the differences between twins makes it definite
    again, and leaves the solution as it was for a right side that is equal on twins: the exact solution of the
    merged space, shared evenly.
    """
    same = similarity >= 1
    same.diagonal(dim1=-2, dim2=-1).fill_(True)
    twin = same.to(torch.uint8).argmax(-1)
    same = (twin[..., :, None] == twin[..., None, :]).to(similarity)
    matrix = similarity - same / same.sum(-1, keepdim=True)
    matrix.diagonal(dim1=-2, dim2=-1).add_(1)
    return _cholesky(matrix), twin


def _cholesky(matrix: Tensor) -> Tensor:
    """Factorise; where that fails, lift the diagonal by ever more, from n eps up to what must succeed, and log it.

    A matrix that holds a value that is not finite gives a factor that is not a number.
    """
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(matrix)
    failed = info > 0
    if failed.any():
        n = matrix.shape[-1]
        finite = matrix.isfinite().flatten(-2).all(-1)
        factor[failed & ~finite] = torch.nan
        failed = failed & finite
        jitter_log.count += int(failed.sum())
        jitter = n * torch.finfo(matrix.dtype).eps
        while failed.any():
            lifted = matrix[failed]
            lifted.diagonal(dim1=-2, dim2=-1).add_(jitter)
            factor[failed], info[failed] = torch.linalg.cholesky_ex(lifted)
            failed = failed & (info > 0)
            jitter *= 100
    return factor


def share(values: Float[Tensor, "*batch n"], twin: Int[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Replace every value by the mean over its class of twins.

    Args:
        values: a number a point.
        twin: for each point the index, below n, that names its class.
    """
    zeros = torch.zeros_like(values)
    totals = zeros.scatter_add(-1, twin, values)
    sizes = zeros.scatter_add(-1, twin, torch.ones_like(values))
    return (totals / sizes.clamp(min=1)).gather(-1, twin)


def _apply(factor: Tensor, right: Tensor) -> Tensor:
    """Solve by two triangular solves (cholesky_solve would copy the factor first)."""
    half = torch.linalg.solve_triangular(factor, right[..., None], upper=False)
    solution: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)[..., 0]
    return solution


class _Magnitude(torch.autograd.Function):
    """The sum of the weights and, if asked for, its gradient: d|X| = -w' dzeta w needs no further solve.

    Taking the gradient at once keeps no n x n numbers until the backward pass, which needs them for second
    derivatives alone, and then makes them anew.
    """

    @staticmethod
    def forward(points: Tensor, p: float, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
        spacing = spacing_of(points, p)
        weights = _apply(factor_alone(spacing), points.new_ones(points.shape[:-1]))
        gradient = form_gradient(points, p, spacing, weights, weights).neg_() if with_gradient else None
        return weights.sum(-1), gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, bool], output: tuple[Tensor, Tensor | None]) -> None:
        points, ctx.p, _ = inputs
        _, gradient = output
        ctx.save_for_backward(points, gradient)
        if gradient is not None:
            ctx.mark_non_differentiable(gradient)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor, None, None]:
        points, gradient = ctx.saved_tensors
        if gradient is None or torch.is_grad_enabled():
            weights = weights_of_points(points, ctx.p)
            gradient = differentiable_form_gradient(points, ctx.p, -weights, weights)
        return grad[..., None, None] * gradient, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, None, None], points: Tensor, p: float, with_gradient: bool
    ) -> tuple[tuple[Tensor, Tensor | None], tuple[int, int | None]]:
        return _magnitude(points.movedim(in_dims[0], 0), p, with_gradient), (0, 0 if with_gradient else None)


_magnitude: Callable[[Tensor, float, bool], tuple[Tensor, Tensor | None]] = _Magnitude.apply


class _Solve(torch.autograd.Function):
    """w = zeta^+ b, for b equal on twins, as a function of the matrix: dw = -zeta^+ dzeta w needs but a solve."""

    generate_vmap_rule = True

    @staticmethod
    def forward(similarity: Tensor, right: Tensor, factor: Tensor, twin: Tensor) -> Tensor:
        return _apply(factor, right)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor], output: Tensor) -> None:
        similarity, _, factor, twin = inputs
        ctx.save_for_backward(similarity, factor, twin, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        similarity, factor, twin, solution = ctx.saved_tensors
        adjoint = _solve(similarity, share(grad, twin), factor, twin)
        return -adjoint[..., :, None] * solution[..., None, :], adjoint, None, None


_solve: Callable[..., Tensor] = _Solve.apply


def weights_of_points(
    points: Float[Tensor, "*batch n d"], p: float, groups: Int[Tensor, " n"] | None = None
) -> Float[Tensor, "*batch n"]:
    """Give the weighting of dilated points; of each group, if any."""
    return weights_of_matrix(measure(points, p, groups))


def magnitude_of_points(points: Float[Tensor, "*batch n d"], p: float) -> Float[Tensor, "*batch"]:
    """Give the magnitude of dilated points."""
    return _magnitude(points, p, points.requires_grad and torch.is_grad_enabled())[0]


def weights_of_matrix(similarity: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n"]:
    """Give the weighting of a similarity matrix: the solution of zeta w = 1, equal on twins."""
    return _solve(similarity, similarity.new_ones(similarity.shape[:-1]), *factorise(similarity))
