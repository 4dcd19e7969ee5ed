"""The trained network as prediction needs it: from a batch to logits and embedding, whatever trained its head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float, Float64
    from torch import Tensor

    from matcard.losses import CentroidClassifier
    from matcard.models.base import Classifier
    from matcard.models.output import Output


class Network(nn.Module):
    """A model, and the centroid classifier in place of its head where the loss trains embeddings alone.

    Args:
        model: maps a batch to `Output(logits (N, C), embedding (N, F))`.
        centroids: fitted on the training part; None where the head is trained.
    """

    def __init__(self, model: Classifier, centroids: CentroidClassifier | None) -> None:
        super().__init__()
        self.model = model
        self.centroids = centroids

    def forward(self, batch: Any) -> Output:
        """Give logits (N, C) and embedding (N, F) of a batch."""
        output: Output = self.model(batch)
        if self.centroids is None:
            return output
        return output._replace(logits=self.centroids(output.embedding))


def probabilities_of(logits: Float[Tensor, "N C"]) -> Float64[Tensor, "N C"]:
    """Give class probabilities in float64, on the CPU: Apple's GPUs have no float64."""
    return torch.softmax(logits.cpu().double(), dim=1)
