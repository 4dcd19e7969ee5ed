"""Is a sample like those that were trained on: its distance to their embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64

MAX_REFERENCE = 20_000
"""Embeddings of the training part that are kept at most; of more, a random sample."""
PERCENTILE = 99.0
"""Share in percent of the validation part that lies within the limit."""

_BLOCK = 4_000_000
"""Scalar products at a time: 16 MB."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Where the training part lies in the space of embeddings, and how near to it the validation part is.

    Attributes:
        embeddings: (M, F) of the training part, or of a sample of it, of unit length.
        limit: the 99th percentile of the distances from the validation part to the nearest of them. That part is not
            trained on, so that its distances are those of new samples of the same kind.
    """

    embeddings: Float32[np.ndarray, "M F"]
    limit: float

    @classmethod
    def fit(cls, train: Float[np.ndarray, "n F"], validation: Float[np.ndarray, "m F"], *, seed: int = 0) -> Reference:
        """Take the embeddings of the two parts.

        Args:
            train: of the training part; beyond `MAX_REFERENCE` a random sample is kept.
            validation: of the validation part.
            seed: of that sample.

        Raises:
            InputError: a part without embeddings, or with some that are not finite.
        """
        for embeddings, part in ((train, "training"), (validation, "validation")):
            if not len(embeddings) or not np.isfinite(embeddings).all():
                raise InputError(f"the {part} part has no embeddings that are finite numbers")
        if len(train) > MAX_REFERENCE:
            train = train[np.sort(np.random.default_rng(seed).permutation(len(train))[:MAX_REFERENCE])]
        reference = cls(unit_length(train), float("inf"))
        return cls(reference.embeddings, float(np.percentile(reference.distance(validation), PERCENTILE)))

    def distance(self, embeddings: Float[np.ndarray, "n F"]) -> Float64[np.ndarray, " n"]:
        """Give the distance from each embedding, made unit length, to the nearest of the reference; 0 to 2."""
        units = unit_length(embeddings)
        rows = max(1, _BLOCK // len(self.embeddings))
        # The nearest by scalar products, its distance by the difference: that keeps the digits of near twins.
        nearest = [(units[k : k + rows] @ self.embeddings.T).argmax(axis=1) for k in range(0, len(units), rows)]
        gap = units.astype(np.float64) - self.embeddings[np.concatenate([np.empty(0, np.int64), *nearest])]
        return np.asarray(np.sqrt(np.square(gap).sum(axis=1)))

    def novelty(self, embeddings: Float[np.ndarray, "n F"]) -> Float64[np.ndarray, " n"]:
        """Give that distance over the limit: above 1 a sample is unlike those that the network was trained on."""
        return np.asarray(self.distance(embeddings) / max(self.limit, float(np.finfo(np.float32).eps)))


def unit_length(embeddings: Float[np.ndarray, "n F"]) -> Float32[np.ndarray, "n F"]:
    """Divide each embedding by its length; one of zeros stays."""
    wide = embeddings.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    units: Float32[np.ndarray, "n F"] = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0).astype("f4")
    return units
