"""Fully connected layers for table rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from matcard.models.base import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.options import MLPOptions


class MLP(Classifier):
    """Linear layers with ReLU. A batch has `x` (N, num_features), already standardised.

    The embedding is what the last hidden layer gives after its ReLU, (N, hidden), before dropout.

    Args:
        options: widths.
        num_classes: C.
        num_features: numbers in a row.
    """

    def __init__(self, options: MLPOptions, num_classes: int, num_features: int) -> None:
        super().__init__()
        widths = [num_features] + [options.hidden] * options.hidden_layers
        self.layers = nn.ModuleList(map(nn.Linear, widths, widths[1:]))
        self.dropout = nn.Dropout(options.dropout)
        self.fc_out = nn.Linear(options.hidden, num_classes)

    def encode(self, batch: Any) -> Float[Tensor, "N F"]:
        """Give the embedding of each row."""
        hidden: Tensor = batch.x
        for index, layer in enumerate(self.layers):
            hidden = layer(self.dropout(hidden) if index else hidden).relu()
        return hidden

    def classify(self, embedding: Float[Tensor, "N F"]) -> Float[Tensor, "N C"]:
        """Give the logits of embeddings."""
        return self.fc_out(self.dropout(embedding))  # type: ignore[no-any-return]

    @staticmethod
    def widths(state: Mapping[str, Tensor]) -> dict[str, object]:
        """Give the options that weights were made with."""
        layers = [weight for name, weight in state.items() if name.startswith("layers.") and name.endswith("weight")]
        return {"hidden": len(layers[-1]), "hidden_layers": len(layers)} if layers else {}
