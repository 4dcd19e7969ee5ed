"""Class-embedding space: the points are (h / |h|, onehot(y)), so that a crystal seen n times counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from matcard.losses.measure import unit
from matcard.losses.space import Space

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.base import Terms


class Reweight(Space):
    """sum w_i l_i / sum w_i, each sample weighted by its share of the invariant of the batch.

    The weights are constants to the gradient. They tell common samples from rare ones without class counts.
    """

    def forward(
        self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"], embeddings: Float[Tensor, "N F"]
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the loss and its terms."""
        with torch.no_grad():
            points, _ = self.joined(class_embedding_points(embeddings, targets, logits.shape[1]), targets)
            scale = self.measure.scale(points)
            weights = self.measure.shares(points, scale)[: len(targets)].to(logits)
        base = self.base.average(logits, targets, weights)
        return base, {"base": base, "invariant": weights.sum(), "scale": scale}


def class_embedding_points(
    embeddings: Float[Tensor, "N F"], targets: Int[Tensor, " N"], num_classes: int
) -> Float[Tensor, "N F+C"]:
    """Give (h / |h|, onehot(y)), detached."""
    onehot = nn.functional.one_hot(targets, num_classes)
    return torch.cat([unit(embeddings.detach()), onehot.to(embeddings)], dim=1)
