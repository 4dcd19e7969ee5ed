"""Fully connected layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import nn

from matcard.models.base import ArrayModel, ModelOptions
from matcard.options import AtLeastOne, Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class MLPOptions(ModelOptions):
    """Fully connected layers for table rows and compositions, or for images without regard to their shape."""

    takes: ClassVar[tuple[str, ...]] = ("table", "compositions", "images")

    name: Literal["mlp"] = "mlp"
    hidden: AtLeastOne = 128
    """Width of the hidden layers, so of the embedding."""
    hidden_layers: AtLeastOne = 2
    """Number of hidden layers."""
    dropout: Share = 0.0
    """Share of the numbers dropped after each hidden layer but the last, and before the head, in training."""


class MLP(ArrayModel[MLPOptions]):
    """Linear layers with ReLU on the standardised numbers of a row, or of an image, one after another.

    The embedding is what the last hidden layer gives after its ReLU, (N, hidden), before dropout.

    Args:
        options: widths.
        num_classes: C.
        input_shape: shape of a sample.
        standard: `mean` and `std`, see `ArrayModel`.
    """

    def __init__(
        self,
        options: MLPOptions,
        num_classes: int,
        input_shape: Sequence[int],
        **standard: Float[np.ndarray, ...],
    ) -> None:
        super().__init__(input_shape, **standard)
        widths = [math.prod(input_shape)] + [options.hidden] * options.hidden_layers
        self.layers = nn.ModuleList(map(nn.Linear, widths, widths[1:]))
        self.dropout = nn.Dropout(options.dropout)
        self.fc_out = nn.Linear(options.hidden, num_classes)

    def encode(self, batch: Any) -> Float[Tensor, "N F"]:
        """Give the embedding of each sample."""
        hidden = self.standardised(batch).flatten(1)
        for index, layer in enumerate(self.layers):
            hidden = layer(self.dropout(hidden) if index else hidden).relu()
        return hidden
