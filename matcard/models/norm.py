"""Batch norm that also stands a batch of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor
    from torch.nn.modules.batchnorm import _BatchNorm


def uses_batch(norm: _BatchNorm, count: int) -> bool:
    """Say whether `count` rows are normalised by their own statistics.

    One row has no variance, so it is normalised by the running statistics, as in evaluation. A `SyncBatchNorm`
    counts the rows of all processes and is left to decide.
    """
    return norm.training and (count > 1 or isinstance(norm, nn.SyncBatchNorm))


def batch_norm(norm: _BatchNorm, rows: Float[Tensor, "R F"]) -> Float[Tensor, "R F"]:
    """Apply a batch norm to rows, even to one or none in training."""
    if uses_batch(norm, len(rows)):
        return norm(rows)  # type: ignore[no-any-return]
    mean, variance = running_statistics(norm)
    return nn.functional.batch_norm(rows, mean, variance, norm.weight, norm.bias, eps=norm.eps)


def running_statistics(norm: _BatchNorm) -> tuple[Float[Tensor, " F"], Float[Tensor, " F"]]:
    """Give running mean and variance."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@torch.no_grad()
def update_running(norm: _BatchNorm, mean: Float[Tensor, " F"], variance: Float[Tensor, " F"], count: int) -> None:
    """Move running statistics as batch norm does after a batch of `count` rows with this (biased) variance."""
    running_mean, running_variance = running_statistics(norm)
    assert norm.momentum is not None
    running_mean.lerp_(mean.to(running_mean.dtype), norm.momentum)
    running_variance.lerp_((variance * (count / (count - 1))).to(running_variance.dtype), norm.momentum)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
