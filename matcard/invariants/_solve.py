"""The solve zeta w = 1 by one Cholesky factor that serves value, gradient and higher derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from matcard.invariants._similarity import Measured, form_gradient, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor


# Twins leave a pivot of rounding errors, whose root is below 1e-5 for any matrix that fits a memory.
_SMALL_PIVOT = 1e-5


class JitterLog:
    """How often, in this process, a similarity matrix had to be lifted to be factorised.

    Attributes:
        count: matrices lifted so far.
        largest: the largest number added to a diagonal.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count anew."""
        self.count = 0
        self.largest = 0.0


jitter_log = JitterLog()


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


class _Factor(torch.autograd.Function):
    """The Cholesky factor of zeta + 1 - (mean over twins), and who is whose twin.

    Points at similarity 1 make zeta singular. The projection on the differences between twins makes it definite
    again, and leaves the solution as it was for a right side that is equal on twins: the exact solution of the
    merged space, shared evenly.
    """

    @staticmethod
    def forward(similarity: Tensor) -> tuple[Tensor, Tensor]:
        # The transpose is the same matrix in the order that LAPACK wants.
        factor, info = torch.linalg.cholesky_ex(similarity.mT)
        pivots = factor.diagonal(dim1=-2, dim2=-1)
        if not ((info > 0) | (pivots < _SMALL_PIVOT).any(-1)).any():
            return factor, torch.arange(similarity.shape[-1], device=similarity.device).expand(pivots.shape)
        same = similarity >= 1
        same.diagonal(dim1=-2, dim2=-1).fill_(True)
        twin = same.to(torch.uint8).argmax(-1)
        same = (twin[..., :, None] == twin[..., None, :]).to(similarity)
        matrix = similarity - same / same.sum(-1, keepdim=True)
        matrix.diagonal(dim1=-2, dim2=-1).add_(1)
        return _cholesky(matrix), twin

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        return None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], similarity: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        return _factor(similarity.movedim(in_dims[0], 0)), (0, 0)


_factor: Callable[[Tensor], tuple[Tensor, Tensor]] = _Factor.apply


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
            jitter_log.largest = max(jitter_log.largest, jitter)
            failed = failed & (info > 0)
            jitter *= 100
    return factor


def _apply(factor: Tensor, right: Tensor) -> Tensor:
    """Solve by two triangular solves (cholesky_solve would copy the factor first)."""
    half = torch.linalg.solve_triangular(factor, right[..., None], upper=False)
    solution: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)[..., 0]
    return solution


class _SolvePoints(torch.autograd.Function):
    """w = zeta^+ b, for b equal on twins, as a function of points: dw = -zeta^+ dzeta w needs but a solve."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        points: Tensor, right: Tensor, p: float, factor: Tensor, twin: Tensor, *measured: Tensor | None
    ) -> Tensor:
        return _apply(factor, right)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        points, _, ctx.p, *constants = inputs
        ctx.save_for_backward(points, output, *constants)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        points, solution, factor, twin, *measured = ctx.saved_tensors
        adjoint = _solve_points(points, share(grad, twin), ctx.p, factor, twin, *measured)
        on_points = form_gradient(points, ctx.p, Measured(*measured), -adjoint, solution)
        return on_points, adjoint, *[None] * 6


_solve_points: Callable[..., Tensor] = _SolvePoints.apply


class _Magnitude(torch.autograd.Function):
    """The sum of given weights as a function of points: d|X| = -w' dzeta w needs no solve at all."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        points: Tensor, weights: Tensor, p: float, factor: Tensor, twin: Tensor, *measured: Tensor | None
    ) -> Tensor:
        return weights.sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        points, weights, ctx.p, *constants = inputs
        ctx.save_for_backward(points, weights, *constants)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        points, weights, factor, twin, *measured = ctx.saved_tensors
        if torch.is_grad_enabled():
            weights = _solve_points(points, torch.ones_like(weights), ctx.p, factor, twin, *measured)
        on_points = form_gradient(points, ctx.p, Measured(*measured), -grad[..., None] * weights, weights)
        return on_points, *[None] * 7


_magnitude: Callable[..., Tensor] = _Magnitude.apply


class _SolveMatrix(torch.autograd.Function):
    """w = zeta^+ b, for b equal on twins, as a function of a given matrix."""

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
        adjoint = _solve_matrix(similarity, share(grad, twin), factor, twin)
        return -adjoint[..., :, None] * solution[..., None, :], adjoint, None, None


_solve_matrix: Callable[..., Tensor] = _SolveMatrix.apply


def weights_of_points(points: Float[Tensor, "*batch n d"], p: float) -> Float[Tensor, "*batch n"]:
    """Give the weighting of dilated points: the solution of zeta w = 1, equal on twins."""
    measured = measure(points.detach(), p)
    return _solve_points(points, points.new_ones(points.shape[:-1]), p, *_factor(measured.similarity), *measured)


def magnitude_of_points(points: Float[Tensor, "*batch n d"], p: float) -> Float[Tensor, "*batch"]:
    """Give the magnitude of dilated points."""
    measured = measure(points.detach(), p)
    factor, twin = _factor(measured.similarity)
    weights = _apply(factor, points.new_ones(points.shape[:-1]))
    return _magnitude(points, weights, p, factor, twin, *measured)


def weights_of_matrix(similarity: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n"]:
    """Give the weighting of a similarity matrix."""
    return _solve_matrix(similarity, similarity.new_ones(similarity.shape[:-1]), *_factor(similarity))
