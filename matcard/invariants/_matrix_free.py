"""Row sums and weightings of many points: the similarity matrix is made in pieces and never kept.

Memory grows as n, time as n^2 for a product. The weighting comes from conjugate gradients in float64, preconditioned
by a Nystrom approximation (Frangella, Tropp and Udell 2023, SIAM J. Matrix Anal. Appl. 44, 718).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from matcard.errors import InputError, MatcardWarning
from matcard.invariants._distances import distances, pull, row_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float
    from torch import Tensor

    from matcard.invariants._distances import NearPairs

_MAX_ITERATIONS = 2000
_LANDMARKS = 128


class _RowSums(torch.autograd.Function):
    """zeta 1."""

    @staticmethod
    def forward(points: Tensor, p: float) -> Tensor:
        return _product(points, p, points.new_ones(len(points)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        points, ctx.p = inputs
        ctx.save_for_backward(points)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (points,) = ctx.saved_tensors
        return _form_gradient(points, ctx.p, grad, torch.ones_like(grad)), None


class _Weights(torch.autograd.Function):
    """zeta^+ 1."""

    @staticmethod
    def forward(points: Tensor, p: float, tolerance: float) -> Tensor:
        return _conjugate_gradients(points, p, points.new_ones(len(points)), tolerance)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        points, ctx.p, ctx.tolerance = inputs
        ctx.save_for_backward(points, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        points, weights = ctx.saved_tensors
        with torch.no_grad():
            if (grad == grad[0]).all():  # as for the magnitude: its adjoint needs no solve
                adjoint = grad[0] * weights
            else:
                adjoint = _conjugate_gradients(points, ctx.p, grad, ctx.tolerance)
        return _form_gradient(points, ctx.p, -adjoint, weights), None, None


class _Once(torch.autograd.Function):
    """A gradient that depends on the points as before, and says so where it is differentiated in turn."""

    @staticmethod
    def forward(gradient: Tensor, points: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None: ...

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        raise InputError("method 'matrix_free' has no second derivatives: use method='dense'")


_once: Callable[[Tensor, Tensor], Tensor] = _Once.apply
row_sums: Callable[[Tensor, float], Tensor] = _RowSums.apply
"""The row sums of the similarity matrix of points (n, d)."""
weights: Callable[[Tensor, float, float], Tensor] = _Weights.apply
"""The weighting w with |1 - zeta w| <= tolerance sqrt(n); without twins merged, twins share evenly."""


def _pieces(points: Tensor, p: float) -> Iterator[tuple[slice, Tensor, NearPairs, Tensor]]:
    """Rows of the matrix: which, their distances, near pairs and similarities, with the dimension of a batch."""
    for rows in row_chunks(points[None]):
        spacing, near = distances(points[None], rows, p)
        yield rows, spacing, near, spacing.neg().exp_()


def kernel_sums(
    points: Float[Tensor, "n d"], p: float, kernel: Callable[[Tensor], Tensor], vector: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Give sum_j k(d_ij) v_j, not differentiable, for a kernel of distances, which it may overwrite.

    The matrix is symmetric: of each row only what lies from its block on is computed.
    """
    product = torch.zeros_like(vector)
    for rows in row_chunks(points[None]):
        spacing, _ = distances(points[None, rows.start :], slice(0, rows.stop - rows.start), p)
        similarity = kernel(spacing[0])
        product[rows] += similarity @ vector[rows.start :]
        product[rows.stop :] += similarity[:, rows.stop - rows.start :].mT @ vector[rows]
    return product


def _product(points: Tensor, p: float, vector: Tensor) -> Tensor:
    return kernel_sums(points, p, lambda spacing: spacing.neg_().exp_(), vector)


def _form_gradient(points: Tensor, p: float, left: Tensor, right: Tensor) -> Tensor:
    """Gradient of left' zeta right, which cannot be differentiated again."""
    with torch.no_grad():
        sides = left[None], right[None]
        pieces = [
            -pull(points[None], rows, p, spacing, near, similarity, *sides)[0]
            for rows, spacing, near, similarity in _pieces(points, p)
        ]
        gradient = torch.cat(pieces)
    return _once(gradient, points)


def _conjugate_gradients(points: Tensor, p: float, right: Tensor, tolerance: float) -> Tensor:
    precondition = _nystrom(points, p)
    solution, residual = torch.zeros_like(right), right
    bound = tolerance * right.norm()
    ahead = precondition(residual)
    direction, along = ahead, residual @ ahead
    for _ in range(_MAX_ITERATIONS):
        if not residual.norm() > bound:
            return solution
        image = _product(points, p, direction)
        step = along / (direction @ image)
        solution, residual = solution + step * direction, residual - step * image
        ahead = precondition(residual)
        before, along = along, residual @ ahead
        direction = ahead + along / before * direction
    warnings.warn(
        f"the weighting of {len(points)} points did not reach the tolerance {tolerance:g} in {_MAX_ITERATIONS} steps; "
        f"its residual is {float(residual.norm() / right.norm()):.2g}: use a larger scale, a larger tolerance or "
        "method='dense'",
        MatcardWarning,
        stacklevel=2,
    )
    return solution


def _nystrom(points: Tensor, p: float) -> Callable[[Tensor], Tensor]:
    """The inverse of the Nystrom approximation from evenly chosen landmarks, plus its mean error on the diagonal."""
    n = len(points)
    landmarks = torch.linspace(0, n - 1, min(n, _LANDMARKS), device=points.device).long()
    columns = torch.cat([piece[0][:, landmarks] for *_, piece in _pieces(points, p)])
    if not columns.isfinite().all():  # a point that is not a number makes every weight one that is none either
        return lambda vector: torch.full_like(vector, torch.nan)
    values, vectors = torch.linalg.eigh(columns[landmarks])
    kept = values > values[-1] * 1e-10  # twins among the landmarks leave zeros
    root = columns @ (vectors[:, kept] / values[kept].sqrt())
    shift = (1 - root.square().sum(-1)).mean().clamp(min=1e-6)
    inner = root.T @ root
    inner.diagonal().add_(shift)
    factor = torch.linalg.cholesky(inner)
    return lambda vector: (vector - root @ torch.cholesky_solve((vector @ root)[:, None], factor)[:, 0]) / shift
