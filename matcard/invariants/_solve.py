"""The solve zeta w = b by one Cholesky factor that serves value, gradient and higher derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class JitterLog:
    """How often a similarity matrix had to be lifted to be factorised, in this process.

    Attributes:
        count: matrices lifted so far.
        largest: the largest number that was added to a diagonal.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start to count anew."""
        self.count = 0
        self.largest = 0.0


jitter_log = JitterLog()


def share(values: Float[Tensor, "*batch n"], twin: Int[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Replace every value by the mean over its class of twins.

    Args:
        values: a number a point.
        twin: for each point the index that names its class.
    """
    totals = torch.zeros_like(values).scatter_add(-1, twin, values)
    sizes = torch.zeros_like(values).scatter_add(-1, twin, torch.ones_like(values))
    return (totals / sizes.clamp(min=1)).gather(-1, twin)


class _Factor(torch.autograd.Function):
    """The Cholesky factor of zeta + (1 - mean over twins), with the twins that it found.

    Points at similarity 1 make zeta singular. Adding the projection on the differences between twins makes it
    definite again and leaves the solution for a right side that is equal on twins as it was: exactly the solution
    of the merged space, shared evenly.
    """

    @staticmethod
    def forward(similarity: Tensor) -> tuple[Tensor, Tensor]:
        n = similarity.shape[-1]
        same = similarity == 1
        twin = torch.arange(n, device=similarity.device).expand(similarity.shape[:-1])
        matrix = similarity
        if same.sum() > twin.numel():
            twin = same.to(torch.uint8).argmax(-1)
            same = twin[..., :, None] == twin[..., None, :]
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
        return _Factor.apply(similarity.movedim(in_dims[0], 0)), (0, 0)


def _cholesky(matrix: Tensor) -> Tensor:
    """Factorise, lifting the diagonal of those matrices that fail by ever more, relative to the precision."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    n = matrix.shape[-1]
    jitter = n * torch.finfo(matrix.dtype).eps
    while jitter <= n and (failed := info > 0).any():
        lifted = matrix[failed]
        lifted.diagonal(dim1=-2, dim2=-1).add_(jitter)
        factor[failed], info[failed] = torch.linalg.cholesky_ex(lifted)
        jitter_log.count += int(jitter == n * torch.finfo(matrix.dtype).eps) * len(lifted)
        jitter_log.largest = max(jitter_log.largest, jitter)
        jitter *= 100
    return factor


class _Solve(torch.autograd.Function):
    """w = zeta^+ b; its derivative needs only further solves with the same factor."""

    generate_vmap_rule = True

    @staticmethod
    def forward(similarity: Tensor, factor: Tensor, twin: Tensor, right: Tensor) -> Tensor:
        return torch.cholesky_solve(share(right, twin)[..., None], factor)[..., 0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor], output: Tensor) -> None:
        similarity, factor, twin, _ = inputs
        ctx.save_for_backward(similarity, factor, twin, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, Tensor]:
        similarity, factor, twin, solution = ctx.saved_tensors
        adjoint = _Solve.apply(similarity, factor, twin, grad)
        return -adjoint[..., :, None] * solution[..., None, :], None, None, adjoint


def solve_ones(similarity: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n"]:
    """Give the weighting: the solution of zeta w = 1, equal on twins."""
    factor, twin = _Factor.apply(similarity)
    weights: Tensor = _Solve.apply(similarity, factor, twin, torch.ones_like(similarity[..., 0]))
    return weights
