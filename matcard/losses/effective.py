"""Effective numbers: class counts replaced by the magnitude or spread of each class's embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from matcard.losses.measure import unit
from matcard.losses.space import Space

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.base import SampleLoss, Terms
    from matcard.losses.options import CardinalityOptions

MEDIAN_ROWS = 1024
"""Embeddings that the median heuristic looks at: enough for a median, few enough for all pairs."""


class EffectiveNumber(Space):
    """The base loss with the class counts n_c replaced by |t h_c|, h_c being class c's unit-norm embeddings.

    The numbers of one epoch are used in the next; until there are any, raw counts are. At most `reservoir`
    embeddings of a class are kept, a uniform sample of those seen in the epoch, so no class counts for more.
    """

    def __init__(self, options: CardinalityOptions, base: SampleLoss[Any], seed: int) -> None:
        super().__init__(options, base, seed)
        self.reservoir = Reservoir(options.reservoir)

    def forward(
        self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"], embeddings: Float[Tensor, "N F"]
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the loss and its terms, the counts that it works with among them."""
        if self.training:
            self.reservoir.add(unit(embeddings.detach()), targets, self.draws())
        base = self.base.average(logits, targets)
        numbers = self.base.counts()
        return base, {"base": base, **{f"number_{c}": number for c, number in enumerate(numbers)}}

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Replace the counts by the effective numbers of the epoch that ended."""
        super().on_epoch(epoch, epochs)
        if len(self.reservoir.rows):
            self.base.set_counts(self._numbers(len(self.base.counts())))
        self.reservoir.clear()

    def get_extra_state(self) -> dict[str, Tensor]:
        """Give what the next epoch's numbers come from, for a run that resumes between epochs."""
        return self.reservoir.state()

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """Take up the embeddings of the epoch that ended."""
        self.reservoir.load(state)

    def _numbers(self, num_classes: int) -> Float[Tensor, " C"]:
        rows, targets = self.reservoir.rows, self.reservoir.targets
        scale = self.measure.scale(rows[self.reservoir.keys.argsort()[:MEDIAN_ROWS]])
        numbers = [self.measure.number(rows[targets == c], scale) for c in range(num_classes)]
        # A class that was not seen counts as one embedding.
        return torch.stack(numbers).clamp_min(1)


class Reservoir:
    """A uniform sample of at most `size` rows of each class: those with the smallest of random keys.

    Args:
        size: rows of a class that are kept.
    """

    rows: Tensor
    targets: Tensor
    keys: Tensor

    def __init__(self, size: int) -> None:
        self.size = size
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self.load({"rows": torch.zeros(0, 0), "targets": torch.zeros(0).long(), "keys": torch.zeros(0).long()})

    def add(self, rows: Float[Tensor, "N F"], targets: Int[Tensor, " N"], generator: torch.Generator) -> None:
        """Offer rows, and drop those of each class with the largest keys beyond `size`."""
        keys = torch.randint(2**62, (len(rows),), generator=generator).to(rows.device)
        if len(self.rows):
            rows = torch.cat([self.rows.to(rows), rows])
            targets = torch.cat([self.targets.to(targets), targets])
            keys = torch.cat([self.keys.to(keys), keys])
        order = keys.argsort()
        order = order[targets[order].argsort(stable=True)]
        sizes = targets.bincount()
        starts = sizes.cumsum(0) - sizes
        rank = torch.arange(len(order), device=order.device) - starts[targets[order]]
        kept = order[rank < self.size]
        self.rows, self.targets, self.keys = rows[kept], targets[kept], keys[kept]

    def state(self) -> dict[str, Tensor]:
        """Give all that is kept."""
        return {"rows": self.rows, "targets": self.targets, "keys": self.keys}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take what `state` gave."""
        self.rows, self.targets, self.keys = state["rows"], state["targets"], state["keys"]
