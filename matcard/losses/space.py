"""What the three spaces of the cardinality losses have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import nn

from matcard.losses.measure import Measure
from matcard.losses.memory import Memory
from matcard.losses.seeding import seeded

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.base import SampleLoss, Terms
    from matcard.losses.options import CardinalityOptions


class Space(nn.Module, ABC):
    """Where the points of an invariant lie, and how it is combined with the base loss.

    Args:
        options: the combination and its weights.
        base: the loss of single samples.
        seed: seeds whatever is drawn, together with the epoch and the step.
    """

    needs_embeddings = True
    trains_head = True

    def __init__(self, options: CardinalityOptions, base: SampleLoss[Any], seed: int) -> None:
        super().__init__()
        self.options = options
        self.base = base
        self.measure = Measure(options)
        self.memory = Memory(options.memory)
        self.seed = seed
        self._epoch = self._step = 0

    @abstractmethod
    def forward(
        self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"], embeddings: Float[Tensor, "N F"]
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the loss and its terms by name."""

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Move the schedules on, draw anew, and forget the points of the epoch that ended."""
        self.base.on_epoch(epoch, epochs)
        self.measure.on_epoch(epoch, epochs)
        self.memory.clear()
        self._epoch, self._step = epoch, 0

    def joined(
        self, points: Float[Tensor, "N D"], targets: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        """Give the points and classes of a batch, in training followed by those of past batches."""
        return self.memory.join(points, targets) if self.training else (points, targets)

    def draws(self) -> torch.Generator:
        """Give the generator of this step; outside training always the same."""
        if not self.training:
            return seeded(self.seed)
        self._step += 1
        return seeded(self.seed, self._epoch, self._step)
