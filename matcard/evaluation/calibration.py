"""Probabilities: how true they are, made truer on validation, and what they are under other class shares.

A loss that reweights classes leaves probabilities of other shares than those of the data, which one temperature cannot
mend; estimating shares from them goes astray. With a bias for each class they follow the shares of training whatever
loss made them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.confusion import check_predictions, check_probabilities, ratio

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int

MAX_TEMPERATURE = 50.0
"""A network that is always right has no best temperature: the search ends here."""

DEFAULT_BINS = 15
"""Bins of the expected calibration error, as in C. Guo et al. (ICML 2017)."""

_PENALTY = 1e-3
"""Of the mean squared bias: keeps that of a class without samples finite."""

_MAX_STEPS = 10_000
_STILL = 1e-8
"""Shares that move by less in a step have settled."""


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
class Calibration:
    """log p is divided by the temperature, and each class gets its bias, before they are normalised again.

    Attributes:
        temperature: T > 0; above 1 the model was overconfident.
        bias: one number a class; they sum to zero. None of them leave the most likely class what it is.
    """

    temperature: float
    bias: tuple[float, ...] = ()

    def apply(self, probabilities: Float[np.ndarray, "n C"]) -> Float64[np.ndarray, "n C"]:
        """Give calibrated probabilities.

        Raises:
            InputError: malformed probabilities.
        """
        bias = np.array(self.bias or 0.0)
        logits = log_probabilities(check_probabilities(probabilities, bias.size if self.bias else None))
        return np.asarray(softmax(logits / self.temperature + bias, axis=1))


def fit_calibration(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], *, biased: bool = False
) -> Calibration:
    """Fit a temperature on the validation part by maximum likelihood (C. Guo et al., ICML 2017).

    With `biased` also a bias of each class: bias-corrected temperature scaling (A. Alexandari et al., ICML 2020). The
    log loss is convex in 1/T and the bias, so that the search finds its minimum, with T within [1/50, 50]. It has none
    where every prediction is right, so nothing is changed there.

    Raises:
        InputError: malformed input.
    """
    from scipy.optimize import minimize

    targets, probabilities = check_predictions(targets, probabilities)
    logits = log_probabilities(probabilities)
    num_classes = logits.shape[1]
    one_hot = np.eye(num_classes)[targets]
    if (logits[one_hot > 0] == logits.max(axis=1)).all():
        return Calibration(1.0, (0.0,) * num_classes if biased else ())

    def loss(parameters: Float[np.ndarray, " 1+C"]) -> tuple[float, Float[np.ndarray, " 1+C"]]:
        beta, bias = parameters[0], parameters[1:]
        scores = beta * logits + bias
        error = softmax(scores, axis=1) - one_hot
        value = (logsumexp(scores, axis=1) - (scores * one_hot).sum(axis=1)).mean() + _PENALTY * (bias**2).mean()
        gradient = np.append(
            (error * logits).sum(axis=1).mean(), error.mean(axis=0) + 2 * _PENALTY * bias / num_classes
        )
        return float(value), gradient

    start = np.append(1.0, np.zeros(num_classes))
    bounds = [(1 / MAX_TEMPERATURE, MAX_TEMPERATURE), *[(None, None) if biased else (0.0, 0.0)] * num_classes]
    found = minimize(loss, start, jac=True, bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}).x
    bias = found[1:] - found[1:].mean()
    return Calibration(float(1 / found[0]), tuple(bias.tolist()) if biased else ())


def log_probabilities(probabilities: Float[np.ndarray, "n C"]) -> Float64[np.ndarray, "n C"]:
    """Give log p in float64, of a probability of 0 that of the smallest number of its type."""
    tiny = np.finfo(probabilities.dtype).tiny
    return np.asarray(np.log(np.maximum(probabilities, tiny).astype(np.float64)))


def share_shift(train_counts: Int[np.ndarray, " C"], counts: Int[np.ndarray, " C"]) -> dict[str, float]:
    """Compare class counts of new samples with those of the training part.

    Returns:
        `total_variation`: half the sum of the absolute differences of the shares, the share of samples that would have
        to change class; `chi_square` and `p_value` of a test of homogeneity of the two counts.
    """
    from scipy.stats import chi2_contingency

    both = np.stack([np.asarray(each, np.float64) for each in (train_counts, counts)])
    old, new = both / both.sum(axis=1, keepdims=True)
    test = chi2_contingency(both[:, both.sum(axis=0) > 0], correction=False)
    found = {"chi_square": float(test.statistic), "p_value": float(test.pvalue)}
    return {"total_variation": float(np.abs(old - new).sum() / 2), **found}


def with_priors(
    probabilities: Float[np.ndarray, "n C"], old: Float[np.ndarray, " C"], new: Float[np.ndarray, " C"]
) -> Float64[np.ndarray, "n C"]:
    """Give the probabilities where the classes have the shares `new` in place of `old`: p_c new_c / old_c, normalised.

    Supposes that only the shares differ, and that the probabilities follow `old` (M. Saerens, P. Latinne and
    C. Decaestecker, Neural Computation 14, 21, 2002, eq. 2.4). A class that has neither share keeps its probability.
    Counts will do for shares.

    Raises:
        InputError: malformed input, a share above 0 of a class that training has not, or a sample that is left with
            none.
    """
    p = check_probabilities(probabilities).astype(np.float64)
    old, new = (np.asarray(shares, np.float64) for shares in (old, new))
    if ((old == 0) & (new > 0)).any():
        raise InputError("no probability can be corrected for a class that has no training sample")
    weights = np.divide(new / new.sum(), old / old.sum(), out=np.ones(p.shape[1]), where=old > 0)
    weighted = p * weights
    total = weighted.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise InputError("a sample is of no class that has a share above 0: give such classes a small share")
    return np.asarray(weighted / total)


def estimate_priors(
    probabilities: Float[np.ndarray, "n C"], train_counts: Int[np.ndarray, " C"]
) -> Float64[np.ndarray, " C"]:
    """Estimate the class shares of unlabelled samples by expectation maximisation (Saerens et al. 2002, eq. 2.9).

    Starts at the training shares; each step takes the mean of the probabilities corrected by the last one's shares,
    until no share moves. The likelihood is concave in the shares, so that the start does not matter.

    Args:
        probabilities: calibrated for the training shares.
        train_counts: of the training part.

    Returns:
        shares that sum to one; 0 for classes without a training sample.

    Raises:
        InputError: malformed input.
    """
    p = check_probabilities(probabilities).astype(np.float64)
    old = np.asarray(train_counts, np.float64)
    shares = old / old.sum()
    relative = np.divide(p, shares, out=np.zeros_like(p), where=old > 0)
    for _ in range(_MAX_STEPS):
        weighted = relative * shares
        new = (weighted / np.maximum(weighted.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)).mean(axis=0)
        new /= new.sum()
        still = np.abs(new - shares).max() < _STILL
        shares = new
        if still:
            return np.asarray(shares)
    warnings.warn(
        f"the class shares still moved after {_MAX_STEPS} steps of the estimate; give them by --prior, or more samples",
        MatcardWarning,
        stacklevel=2,
    )
    return np.asarray(shares)
