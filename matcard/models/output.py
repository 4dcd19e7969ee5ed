"""What every model gives for a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Output(NamedTuple):
    """Logits of N samples over C classes, the embedding (F numbers a sample) that feeds the heads, and V values.

    Values are predictions of numbers, standardised; None where the model predicts none.
    """

    logits: Float[Tensor, "N C"]
    embedding: Float[Tensor, "N F"]
    values: Float[Tensor, "N V"] | None = None
