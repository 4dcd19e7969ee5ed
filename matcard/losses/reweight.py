"""Samples weighted by their share of what is distinct: a crystal seen n times counts once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from matcard.losses.cardinality import CardinalityLoss, CardinalityOptions
from matcard.losses.measure import Memory, MemoryOptions, unit

if TYPE_CHECKING:
    from matcard.losses.base import Embeddings, Logits, Targets, Value


@dataclass(frozen=True)
class ReweightOptions(CardinalityOptions, MemoryOptions):
    """Options of the loss that weighs samples by their share of the invariant of the batch."""

    name: Literal["reweight"] = "reweight"


class Reweight(CardinalityLoss[ReweightOptions]):
    """The base loss, each sample weighted by its share of the invariant of the batch.

    The points are the unit-norm embeddings beside the one-hot class; the weights are the magnitude's weighting, clipped
    at 0, or the spread's 1 / sum_j zeta_ij, and constants to the gradient. They tell common samples from rare ones
    without class counts.
    """

    formula = "sum w l / sum w, w the weighting of (h / |h|, onehot(y))"
    reference = "matcard; the invariants: O'Malley 2026, arXiv:2601.04941"

    def __init__(self, options: ReweightOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.memory = Memory(self.options.memory)

    def counted(self, logits: Logits, targets: Targets, embeddings: Embeddings) -> Value:
        """Give the weighted base loss, weights being taken among the batch and what is remembered."""
        with torch.no_grad():
            onehot = nn.functional.one_hot(targets, logits.shape[1])
            points, _ = self.memory(torch.cat([unit(embeddings), onehot.to(embeddings)], dim=1), targets)
            scale = self.measure.scale(points)
            weights = self.measure.shares(points, scale)[: len(targets)].to(logits)
        base = self.base.average(logits, targets, weights)
        return base, {"base": base, "invariant": weights.sum(), "scale": scale}
