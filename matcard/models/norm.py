"""Batch norm that also stands a batch of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def uses_batch(norm: nn.modules.batchnorm._BatchNorm, count: int) -> bool:
    """Say whether `count` rows are normalised by their own statistics.

    One row has no variance, so it is normalised by the running statistics, as in evaluation. A `SyncBatchNorm`
    counts the rows of all processes and is left to decide.
    """
    return norm.training and (count > 1 or isinstance(norm, nn.SyncBatchNorm))


def batch_norm(norm: nn.modules.batchnorm._BatchNorm, rows: Float[Tensor, "R F"]) -> Float[Tensor, "R F"]:
    """Apply a batch norm to rows, even to one or none in training."""
    if uses_batch(norm, len(rows)):
        return norm(rows)  # type: ignore[no-any-return]
    return F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
