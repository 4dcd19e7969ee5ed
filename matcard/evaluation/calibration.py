"""Are the probabilities true: proper scores, reliability, and temperature scaling on validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcard.evaluation.confusion import ratio

if TYPE_CHECKING:
    from jaxtyping import Float, Int

DEFAULT_BINS = 15
"""Bins of the expected calibration error, as in C. Guo et al. (ICML 2017)."""


class Reliability(NamedTuple):
    """Confidence against accuracy in equally wide bins of (0, 1]; NaN in an empty bin."""

    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    total: Int[np.ndarray, " bins"]

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean gap, weighted by the number in the bin."""
        gap = np.abs(np.nan_to_num(self.accuracy - self.confidence))
        return float((self.total * gap).sum() / self.total.sum())


def reliability(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], bins: int = DEFAULT_BINS
) -> Reliability:
    """Bin the probability of the most likely class, and count how often that class is true."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == targets
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    total = np.bincount(index, minlength=bins)
    return Reliability(
        confidence=ratio(np.bincount(index, confidence, bins), total),
        accuracy=ratio(np.bincount(index, right, bins), total),
        total=total,
    )


def log_loss(targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"]) -> float:
    """Mean -log p of the true class, in nats; p is clipped at the machine epsilon of its type, so finite."""
    true = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.clip(true, np.finfo(true.dtype).eps, 1).astype(np.float64)).mean())


def brier(targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"]) -> float:
    """Mean squared length of p - onehot(y), between 0 and 2 (G. W. Brier, Mon. Weather Rev. 78, 1, 1950)."""
    error = probabilities.astype(np.float64)
    error[np.arange(len(targets)), targets] -= 1
    return float((error**2).sum(axis=1).mean())
