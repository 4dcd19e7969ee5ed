"""Points of past batches, for batches too small to tell a common kind of point from a rare one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch

from matcard.losses.base import LossOptions, Part
from matcard.options import Within

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class MemoryOptions(LossOptions):
    """How many points are remembered."""

    memory: Annotated[int, Within(whole=True)] = 0
    """Points of the epoch's past batches, the newest, that join a batch's; they have no gradient. For small batches."""


class Memory(Part):
    """The newest points of an epoch's batches, first in, first out, with their classes and without gradient.

    Under DDP every process remembers the points of the batch of all of them, so memories are alike. In evaluation
    nothing is joined or remembered.

    Args:
        size: points that are remembered; 0 remembers none.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self._past: tuple[Tensor, Tensor] | None = None

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Forget all points."""
        self._past = None

    def forward(
        self, points: Float[Tensor, "N D"], targets: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        """Give a batch's points and classes followed by those of past batches, the newest first; remember the batch."""
        if not self.size or not self.training:
            return points, targets
        if self._past is not None:
            points, targets = (torch.cat(pair) for pair in zip((points, targets), self._past, strict=True))
        self._past = points[: self.size].detach(), targets[: self.size]
        return points, targets
