"""Warm-up: training begins with the base loss, and the loss is blended in. The epoch decides, nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from matcard.losses.base import Loss, LossOptions, SampleLoss, make_options
from matcard.losses.cross_entropy import CrossEntropyOptions
from matcard.options import NotNegative


@dataclass(frozen=True)
class WarmUpOptions(LossOptions):
    """The base loss, and how long it counts alone."""

    base: LossOptions = field(default_factory=CrossEntropyOptions)
    """Loss of single samples that is multiplied, added to, reweighted, or begun with (`warmup`), by its `name` and with
    options of its own. In Python a name, options, or a loss."""
    warmup: NotNegative = 0.0
    """First epochs in which the base loss alone counts: a whole number of them, or a share of all, below 1."""
    warmup_ramp: NotNegative = 0.0
    """Epochs after these in which the loss is blended in, linearly; a whole number, or a share below 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        base = self.base.options if isinstance(self.base, Loss) else make_options(self.base)
        SampleLoss.find(base.name)
        object.__setattr__(self, "base", base)
        for option in ("warmup", "warmup_ramp"):
            length = getattr(self, option)
            if length > 1 and length != int(length):
                raise self.wrong(option, "a whole number of epochs, or a share of all, below 1")

    @property
    def warms_up(self) -> bool:
        """Whether training begins with the base loss."""
        return self.warmup > 0 or self.warmup_ramp > 0


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
