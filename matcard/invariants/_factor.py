"""The Cholesky factor of a similarity matrix, twins and rounding errors included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from matcard.invariants._similarity import similarity_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float
    from torch import Tensor

    from matcard.invariants._similarity import Spacing

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
            jitter_log.largest = max(jitter_log.largest, jitter)
            failed = failed & (info > 0)
            jitter *= 100
    return factor
