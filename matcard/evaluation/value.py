"""The number behind the classes: how well it is predicted, and what it says of the classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_expit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Float64, Int

_WEIGHTS = np.linspace(0, 1, 21)
# Where a probability is so small that a sample counts as impossible, it counts as this.
_LEAST = 1e-12


def value_metrics(true: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]) -> dict[str, float]:
    """Give mean absolute error, root of the mean squared error, and R2 of the samples that have a number.

    Args:
        true: NaN where a sample has none.
        predicted: in the same units.

    Returns:
        `mae`, `rmse`, `r2` and `values`, how many there are. NaN where there are none; `r2` also where all numbers are
        the same.
    """
    present = np.isfinite(true)
    if not present.any():
        return {"mae": np.nan, "rmse": np.nan, "r2": np.nan, "values": 0.0}
    numbers = np.asarray(true, np.float64)[present]
    error = numbers - np.asarray(predicted, np.float64)[present]
    squares, total = float((error**2).sum()), float(((numbers - numbers.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(squares / len(error))),
        "r2": 1 - squares / total if total > 0 else np.nan,
        "values": float(len(error)),
    }


@dataclass(frozen=True)
class ValueMix:
    """Class probabilities of a predicted number, mixed with those of the class head.

    The true number is taken to be the predicted one plus an error of a logistic distribution, so that the probability
    of a class is that of its interval: with two classes, sigmoid((x + shift - edge) / width).

    Attributes:
        edges: the K numbers between K + 1 intervals, in increasing order; a number on an edge is of the interval above.
        classes: the class of each interval.
        shift: location of the error.
        width: scale of the error, above 0.
        weight: share of these probabilities in the mix, from 0 (the class head alone) to 1 (the number alone).
    """

    edges: tuple[float, ...]
    classes: tuple[int, ...]
    shift: float
    width: float
    weight: float

    @classmethod
    def fit(
        cls,
        edges: Sequence[float],
        classes: Sequence[int],
        predicted: Float[np.ndarray, " n"],
        probabilities: Float[np.ndarray, "n C"],
        targets: Int[np.ndarray, " n"],
    ) -> ValueMix:
        """Choose error and weight on the validation part, each by the likelihood of the classes.

        The error is chosen first, for the number alone. Few samples may be parted without a mistake, which says of no
        error that it is too small; so one of a class with m of them counts as such by (m + 1) / (m + 2), as in Platt
        scaling (Advances in Large Margin Classifiers, 61, 1999, section 2.2). The weight is the mean of its posterior
        distribution, all weights being alike before: 1/2 where few samples tell little, the most likely one of many.

        Args:
            edges: the K numbers between the intervals.
            classes: the class of each of the K + 1 intervals.
            predicted: the number of each of n samples.
            probabilities: what the class head says.
            targets: the class of each.
        """
        from scipy.optimize import minimize

        numbers = np.asarray(predicted, np.float64)
        known = np.eye(probabilities.shape[1])[targets]
        doubt = 1 / (known.sum(axis=0) + 2)[targets, None]
        aims = np.where(known > 0, 1 - doubt, doubt / (known.shape[1] - 1))
        largest = float(np.std(numbers)) or 1.0
        bounds = [(-4 * largest, 4 * largest), (np.log(largest * 1e-3), np.log(largest * 1e1))]

        def surprise(at: Float64[np.ndarray, " 2"]) -> float:
            return _surprise(cls(tuple(edges), tuple(classes), at[0], float(np.exp(at[1])), 1).logs(numbers), aims)

        # From a few widths, as with a narrow error the samples far from an edge say nothing of where to go.
        starts = [(0.0, np.log(largest * factor)) for factor in (0.03, 0.1, 0.3, 1.0)]
        found = min((minimize(surprise, start, bounds=bounds) for start in starts), key=lambda result: result.fun)
        alone = cls(tuple(map(float, edges)), tuple(classes), float(found.x[0]), float(np.exp(found.x[1])), 1.0)
        mixes = [replace(alone, weight=float(weight)) for weight in _WEIGHTS]
        losses = np.array([_surprise(np.log(mix(numbers, probabilities).clip(_LEAST)), known) for mix in mixes])
        likelihood = np.exp(len(numbers) * (losses.min() - losses))
        return replace(alone, weight=float(np.average(_WEIGHTS, weights=likelihood)))

    def logs(self, predicted: Float[np.ndarray, " N"]) -> Float64[np.ndarray, "N C"]:
        """Give the logarithms of the class probabilities of predicted numbers alone."""
        intervals = _log_intervals(np.asarray(predicted, np.float64), self.edges, self.shift, self.width)
        logs = np.full((len(intervals), max(self.classes) + 1), -np.inf)
        for column, label in zip(intervals.T, self.classes, strict=True):
            logs[:, label] = np.logaddexp(logs[:, label], column)
        return logs

    def of_number(self, predicted: Float[np.ndarray, " N"]) -> Float64[np.ndarray, "N C"]:
        """Give the class probabilities of predicted numbers alone."""
        probabilities: Float64[np.ndarray, "N C"] = np.exp(self.logs(predicted))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities

    def __call__(
        self, predicted: Float[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]
    ) -> Float64[np.ndarray, "N C"]:
        """Give the mixed class probabilities."""
        return self.weight * self.of_number(predicted) + (1 - self.weight) * np.asarray(probabilities, np.float64)


def _log_intervals(
    predicted: Float64[np.ndarray, " N"], edges: Sequence[float], shift: float, width: float
) -> Float64[np.ndarray, "N C"]:
    """Give the logarithm of the probability of each interval, exact in the tails.

    With a = (low - x) / s and b = (high - x) / s the probability is F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)).
    """
    at: Float64[np.ndarray, "N K"] = (np.array([-np.inf, *edges, np.inf]) - predicted[:, None] - shift) / width
    low, high = at[:, :-1], at[:, 1:]
    logs: Float64[np.ndarray, "N K"] = log_expit(high) + log_expit(-low)
    if len(edges) > 1:
        logs[:, 1:-1] += np.log(-np.expm1(-np.diff(edges) / width))
    return logs


def _surprise(logs: Float64[np.ndarray, "n C"], aims: Float64[np.ndarray, "n C"]) -> float:
    """Give the mean cross-entropy of log-probabilities and the probabilities that are aimed at."""
    return float(-(aims * logs.clip(np.log(_LEAST))).sum(axis=1).mean())
