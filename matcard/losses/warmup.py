"""Warm-up: training begins with the base loss, and the invariant is blended in. The epoch decides, nothing is kept."""

from __future__ import annotations


def blend(warmup: float, ramp: float, epoch: int, epochs: int) -> float:
    """Give the part b of an epoch in (1 - b) mean l + b loss: 0 in warm-up, then a linear ramp, then 1.

    Args:
        warmup: first epochs at 0; a whole number, or a share of all epochs, below 1.
        ramp: epochs between 0 and 1, both excluded; likewise.
        epoch: from 0.
        epochs: of the whole training.

    Examples:
        >>> [blend(0.25, 3, epoch, 8) for epoch in range(6)]
        [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
    """
    rising = _whole(ramp, epochs)
    return min(1.0, max(0, epoch + 1 - _whole(warmup, epochs)) / (rising + 1))


def _whole(length: float, epochs: int) -> int:
    """Give a number of epochs; a share of them is rounded, but to no less than one."""
    if length == 0 or length >= 1:
        return int(length)
    return max(1, round(length * epochs))
