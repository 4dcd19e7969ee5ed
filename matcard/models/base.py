"""What all models share: an encoder, a linear head, and an encoder that can be frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from matcard.models.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from jaxtyping import Float
    from torch import Tensor

HEAD = "fc_out"
"""Attribute of every model that holds its head; all else is the encoder."""


class Classifier(nn.Module, ABC):
    """A network that encodes a batch and classifies the embedding by a linear head.

    A model sets `fc_out`, the head, and defines `encode`.
    """

    fc_out: nn.Linear
    constants: ClassVar[frozenset[str]] = frozenset()
    """Entries of the state that are not learned, so that a file of weights may lack them."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False

    @abstractmethod
    def encode(self, batch: Any) -> Float[Tensor, "N F"]:
        """Give the embedding that feeds the head."""

    def classify(self, embedding: Float[Tensor, "N F"]) -> Float[Tensor, "N C"]:
        """Give the logits of an embedding."""
        return self.fc_out(embedding)  # type: ignore[no-any-return]

    def forward(self, batch: Any) -> Output:
        """Give logits (N, C) and embedding (N, F) of a batch."""
        embedding = self.encode(batch)
        return Output(self.classify(embedding), embedding)

    def fuse(self) -> bool:
        """Take a compiled route on CPUs; False where the model has none or what compiles it is not installed."""
        return False

    def freeze(self) -> None:
        """Leave only the head to be trained: weights and batch statistics of the encoder stay, without dropout."""
        self.frozen = True
        for name, weight in self.named_parameters():
            weight.requires_grad_(in_head(name))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for name, child in self.named_children():
                child.train(mode and name == HEAD)
        return self

    @staticmethod
    def widths(state: Mapping[str, Tensor]) -> dict[str, object]:
        """Give the options that weights of this kind of model were made with, as far as their shapes tell."""
        return {}


def in_head(name: str) -> bool:
    """Say whether a weight belongs to the head."""
    return name.startswith(f"{HEAD}.")
