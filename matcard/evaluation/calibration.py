"""Are the probabilities true: proper scores, reliability, and temperature scaling on validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcard.errors import InputError
from matcard.evaluation.checks import check_predictions, check_probabilities
from matcard.evaluation.confusion import ratio
from matcard.evaluation.jsonfile import read_json, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float, Int

MAX_TEMPERATURE = 50.0
"""A network that is always right has no best temperature: the search ends here."""

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
    """Bin the probability of the most likely class, and count how often that class is true.

    With two classes too: the confidence is max(p, 1 - p), not the score of class 1.
    """
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


@dataclass(frozen=True)
class Temperature:
    """A temperature T and what it did on the samples it was fitted on: log p is divided by T.

    Attributes:
        value: T; above 1 the model was overconfident.
        log_loss_before: in nats, at T = 1.
        log_loss_after: at T.
        ece_before: at T = 1.
        ece_after: at T.
    """

    value: float
    log_loss_before: float
    log_loss_after: float
    ece_before: float
    ece_after: float

    def apply(self, probabilities: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        """Give float64 probabilities at this temperature; the most likely class stays the same.

        Raises:
            InputError: malformed probabilities.
        """
        return softmax(log_probabilities(check_probabilities(probabilities, np.shape(probabilities)[-1])) / self.value)

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        to_json(asdict(self), path)

    @classmethod
    def load(cls, path: str | Path) -> Temperature:
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or no temperature in it.
        """
        stored = read_json(path)
        try:
            return cls(**{field.name: float(stored[field.name]) for field in fields(cls)})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} holds no temperature; expected a file written by Temperature.save") from error


def fit_temperature(targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"]) -> Temperature:
    """Fit one temperature on the validation part by maximum likelihood (C. Guo et al., ICML 2017).

    The log loss is convex in 1/T, so the one-dimensional search finds its minimum, within [1/50, 50]. It has
    none where every prediction is right, so T stays 1 there.

    Args:
        targets: class indices.
        probabilities: one row a sample.

    Raises:
        InputError: malformed input.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    targets, probabilities = check_predictions(targets, probabilities, np.shape(probabilities)[-1])
    logits = log_probabilities(probabilities)
    true = logits[np.arange(len(targets)), targets]

    def loss(log_t: float) -> float:
        beta = np.exp(-log_t)
        return float((logsumexp(beta * logits, axis=1) - beta * true).mean())

    bound = np.log(MAX_TEMPERATURE)
    found = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-6})
    settled = (true < logits.max(axis=1)).any()
    value = float(np.exp(found.x)) if settled else 1.0
    after = softmax(logits / value)
    return Temperature(
        value=value,
        log_loss_before=log_loss(targets, probabilities),
        log_loss_after=log_loss(targets, after),
        ece_before=reliability(targets, probabilities).ece,
        ece_after=reliability(targets, after).ece,
    )


def log_probabilities(probabilities: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """Give log p in float64, of a probability of 0 that of the smallest number of its type."""
    tiny = np.finfo(probabilities.dtype).tiny
    return np.asarray(np.log(np.maximum(probabilities, tiny).astype(np.float64)))


def softmax(logits: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """Normalise exp(logits) along the classes."""
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))
