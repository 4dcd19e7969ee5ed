"""Points of past batches, for batches too small to tell a common kind of point from a rare one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class Memory:
    """The newest points of past batches, first in, first out, with their classes and without gradient.

    Under DDP every process remembers the points of the batch of all of them, so memories are alike.

    Args:
        size: points that are remembered; 0 remembers none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.clear()

    def clear(self) -> None:
        """Forget all points."""
        self._past: tuple[Tensor, Tensor] | None = None

    def join(
        self, points: Float[Tensor, "N D"], targets: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        """Give a batch's points and classes followed by those of past batches, the newest first; remember the batch."""
        if not self.size:
            return points, targets
        if self._past is not None:
            points, targets = (torch.cat(pair) for pair in zip((points, targets), self._past, strict=True))
        self._past = points[: self.size].detach(), targets[: self.size]
        return points, targets
