"""Embedding space: the points are differences of embeddings, or the embeddings of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from matcard.losses.measure import unit
from matcard.losses.space import Space
from matcard.losses.triplets import mine_triplets, triplet_loss

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.base import SampleLoss, Terms
    from matcard.losses.options import CardinalityOptions

FLOOR = 1e-6
"""Least value of an invariant that divides; it is 0 where all embeddings coincide."""


class EmbeddingSpace(Space):
    """Positives near their anchors and negatives spread around them, or classes compact and all spread out.

    Of unit-norm triplets, B / M(n - a), B * M(p - a) and M(p - a) / M(n - a) are O'Malley's (2026), the first
    that of the materials experiment. M(p - a) - M(n - a), or mean_c M(h_c) - M(h) without triplets, is added
    to a base loss that trains the head. A batch without a valid triplet adds 0.
    """

    def __init__(self, options: CardinalityOptions, base: SampleLoss[Any], seed: int) -> None:
        super().__init__(options, base, seed)
        self.trains_head = options.base_weight > 0

    def forward(
        self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"], embeddings: Float[Tensor, "N F"]
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the loss and its terms."""
        o = self.options
        if o.combine == "add" and o.form == "per-class":
            invariant, terms = self._per_class(embeddings, targets)
        else:
            invariant, terms = self._triplets(embeddings, targets)
        terms["invariant"] = invariant
        # Without a base the logits still take part, at gradient 0, so that DDP does not wait for the head.
        base = self.base.average(logits, targets) if self.trains_head else (0 * logits).sum()
        if self.trains_head:
            terms["base"] = base
        return o.base_weight * base + o.lambda_invariant * invariant.to(logits), terms

    def _per_class(
        self, embeddings: Float[Tensor, "N F"], targets: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, ""], Terms]:
        points, targets = self.joined(unit(embeddings) if self.options.unit_norm else embeddings, targets)
        scale = self.measure.scale(points)
        classes = (targets.bincount() > 0).cumsum(0)[targets] - 1  # without those that the batch lacks
        inner = self.measure.excess_of_groups(points, classes, scale).mean()
        outer = self.measure.excess(points, scale)
        return inner - outer, {"within": inner, "all": outer, "scale": scale}

    def _triplets(
        self, embeddings: Float[Tensor, "N F"], targets: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, ""], Terms]:
        o = self.options
        triplets = mine_triplets(targets, self.draws(), o.anchors)
        count = float(len(triplets.anchors))
        if not count:
            return (0 * embeddings).sum(), {"triplets": count}
        points = unit(embeddings)
        anchors, positives, negatives = (points[rows] for rows in triplets)
        near, far = positives - anchors, negatives - anchors
        scale = self.measure.scale(torch.cat([near, far]))
        terms: Terms = {"triplets": count, "scale": scale}
        if o.combine != "divide":
            terms["positive"] = near_value = self.measure.excess(near, scale)
        if o.combine != "multiply":
            terms["negative"] = far_value = self.measure.excess(far, scale)
        if o.combine in ("divide", "multiply"):
            terms["triplet"] = attraction = triplet_loss(anchors, positives, negatives, o.temperature)
        match o.combine:
            case "add":
                return near_value - far_value, terms
            case "divide":
                return attraction / far_value.clamp_min(FLOOR), terms
            case "multiply":
                return attraction * near_value, terms
            case _:
                return near_value / far_value.clamp_min(FLOOR), terms
