"""Effective numbers: class counts replaced by the magnitude or spread of each class's embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from matcard.errors import InputError
from matcard.losses.base import ClassCounts, CountedLoss, Embeddings, Logits, LossOptions, SampleLoss, Targets, Value
from matcard.losses.cardinality import CardinalityLoss, CardinalityOptions
from matcard.losses.cross_entropy import ClassBalancedOptions
from matcard.losses.measure import NumberOptions, unit
from matcard.options import AtLeastOne

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

MEDIAN_ROWS = 1024
"""Embeddings that the median heuristic looks at: enough for a median, few enough for all pairs."""


@dataclass(frozen=True)
class EffectiveNumberOptions(CardinalityOptions, NumberOptions):
    """Options of a loss whose class counts are effective numbers."""

    name: Literal["effective_number"] = "effective_number"
    base: LossOptions = field(default_factory=ClassBalancedOptions)
    """Loss of single samples that uses class counts, by its `name` and with options of its own."""
    reservoir: AtLeastOne = 256
    """Embeddings of a class kept through an epoch; the most that its number can be."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not issubclass(SampleLoss.find(self.base.name), CountedLoss):
            raise InputError(
                f"effective_number replaces class counts, and --loss.base.name {self.base.name} uses none; set "
                f"{', '.join(CountedLoss.names())}"
            )


class EffectiveNumber(CardinalityLoss[EffectiveNumberOptions]):
    """The base loss with the class counts n_c replaced by |t h_c|, h_c being class c's unit-norm embeddings.

    The numbers of one epoch are used in the next; until there are any, raw counts are. At most `reservoir`
    embeddings of a class are kept, a uniform sample of those seen in the epoch, so no class counts for more.
    """

    formula = "mean l with the class counts n_c replaced by |t h_c|"
    reference = "matcard; the invariants: O'Malley 2026, arXiv:2601.04941"
    base: CountedLoss

    def __init__(self, options: EffectiveNumberOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.reservoir = Reservoir(self.options.reservoir)

    def counted(self, logits: Logits, targets: Targets, embeddings: Embeddings) -> Value:
        """Give the base loss, the counts that it works with among its terms."""
        if self.training:
            self.reservoir.add(unit(embeddings.detach()), targets, self.draws())
        base = self.base.average(logits, targets)
        return base, {"base": base, **{f"number_{c}": number for c, number in enumerate(self.base.class_counts)}}

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Replace the counts by the effective numbers of the epoch that ended."""
        super().on_epoch(epoch, epochs)
        if len(self.reservoir.rows):
            counts = self.base.class_counts
            counts.copy_(self._numbers(len(counts)))
        self.reservoir.clear()

    def _numbers(self, num_classes: int) -> ClassCounts:
        rows, targets = self.reservoir.rows, self.reservoir.targets
        scale = self.measure.scale(rows[self.reservoir.keys.argsort()[:MEDIAN_ROWS]])
        numbers = [self.measure.number(rows[targets == c], scale) for c in range(num_classes)]
        # A class that was not seen counts as one embedding.
        return torch.stack(numbers).clamp_min(1)


class Reservoir(nn.Module):
    """A uniform sample of at most `size` rows of each class: those with the smallest of random keys.

    It is part of a checkpoint, since the next epoch's numbers come from it where a run resumes between epochs.

    Args:
        size: rows of a class that are kept.
    """

    rows: Tensor
    targets: Tensor
    keys: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self.set_extra_state((torch.zeros(0, 0), torch.zeros(0).long(), torch.zeros(0).long()))

    def add(self, rows: Float[Tensor, "N F"], targets: Targets, generator: torch.Generator) -> None:
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

    def get_extra_state(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give all that is kept."""
        return self.rows, self.targets, self.keys

    def set_extra_state(self, state: tuple[Tensor, Tensor, Tensor]) -> None:
        """Take what was kept."""
        self.rows, self.targets, self.keys = state
