"""Probabilities that follow the class shares of training, whatever loss made them: temperature and bias of each class.

A loss that reweights classes leaves probabilities of other shares than those of the data, which one temperature cannot
mend; estimating shares from them goes astray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matcard.evaluation.calibration import MAX_TEMPERATURE, log_probabilities, softmax
from matcard.evaluation.checks import check_predictions, check_probabilities

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int

_PENALTY = 1e-3
"""Of the mean squared bias: keeps that of a class without samples finite."""


@dataclass(frozen=True)
class BiasCorrected:
    """log p is divided by the temperature, and each class gets its bias, before they are normalised again.

    Attributes:
        temperature: T > 0.
        bias: one number a class; they sum to zero.
    """

    temperature: float
    bias: tuple[float, ...]

    def apply(self, probabilities: Float[np.ndarray, "n C"]) -> Float64[np.ndarray, "n C"]:
        """Give corrected probabilities.

        Raises:
            InputError: malformed probabilities.
        """
        logits = log_probabilities(check_probabilities(probabilities, len(self.bias)))
        return softmax(logits / self.temperature + np.array(self.bias))


def fit_bias_corrected(targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"]) -> BiasCorrected:
    """Fit both on the validation part: bias-corrected temperature scaling (A. Alexandari et al., ICML 2020).

    The log loss is convex in 1/T and the bias, so that the search finds its minimum.

    Args:
        targets: class indices.
        probabilities: one row a sample, as the network gives them.

    Raises:
        InputError: malformed input.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    num_classes = np.shape(probabilities)[-1]
    targets, probabilities = check_predictions(targets, probabilities, num_classes)
    logits = log_probabilities(probabilities)
    one_hot = np.eye(num_classes)[targets]

    def loss(parameters: Float[np.ndarray, " C+1"]) -> tuple[float, Float[np.ndarray, " C+1"]]:
        beta, bias = parameters[0], parameters[1:]
        scores = beta * logits + bias
        error = softmax(scores) - one_hot
        value = (logsumexp(scores, axis=1) - (scores * one_hot).sum(axis=1)).mean() + _PENALTY * (bias**2).mean()
        gradient = np.append(
            (error * logits).sum(axis=1).mean(), error.mean(axis=0) + 2 * _PENALTY * bias / num_classes
        )
        return float(value), gradient

    start = np.append(1.0, np.zeros(num_classes))
    bounds = [(1 / MAX_TEMPERATURE, MAX_TEMPERATURE), *[(None, None)] * num_classes]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    bias = found[1:] - found[1:].mean()
    return BiasCorrected(float(1 / found[0]), tuple(bias.tolist()))
