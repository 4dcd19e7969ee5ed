"""Embeddings by class: each class compact, and all of them spread out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from matcard.losses.cardinality import WeighedLoss, WeighedOptions
from matcard.losses.measure import Memory, MemoryOptions, unit

if TYPE_CHECKING:
    from matcard.losses.base import Embeddings, Logits, Targets, Value


@dataclass(frozen=True)
class PerClassOptions(WeighedOptions, MemoryOptions):
    """Options of the loss of embeddings by class."""

    name: Literal["per_class"] = "per_class"
    unit_norm: bool = False
    """Divide embeddings by their norm."""


class PerClass(WeighedLoss[PerClassOptions]):
    """The mean magnitude or spread of the embeddings of a class less that of all, added to a base loss.

    Classes that the batch lacks take no part.
    """

    formula = "lambda_base mean l + lambda_invariant (mean_c M(h_c) - M(h))"
    reference = "matcard; the invariants: O'Malley 2026, arXiv:2601.04941"

    def __init__(self, options: PerClassOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.memory = Memory(self.options.memory)

    def form(self, logits: Logits, targets: Targets, embeddings: Embeddings) -> Value:
        """Give mean_c M(h_c) - M(h), of the batch and what is remembered."""
        points = unit(embeddings) if self.options.unit_norm else embeddings
        points, targets = self.memory(points, targets)
        scale = self.measure.scale(points)
        classes = (targets.bincount() > 0).cumsum(0)[targets] - 1  # without those that the batch lacks
        inner = self.measure.excess_of_groups(points, classes, scale).mean()
        outer = self.measure.excess(points, scale)
        return inner - outer, {"within": inner, "all": outer, "scale": scale, "invariant": inner - outer}
