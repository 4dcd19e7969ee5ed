"""Intervals of proportions, and of F1."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float


class Interval(TypedDict):
    """A proportion with its interval, and the number of cases it is over; NaN where n is 0."""

    value: float
    low: float
    high: float
    n: int


def wilson_bounds(
    successes: Float[np.ndarray, "*shape"], n: Float[np.ndarray, "*shape"], level: float = 0.95
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Give the Wilson score interval of binomial proportions (E. B. Wilson, JASA 22, 209, 1927).

    The bounds solve (k/n - x)^2 = z^2 x (1 - x) / n for x.

    Args:
        successes: k, between 0 and n.
        n: number of cases.
        level: coverage.

    Returns:
        Lower and upper bounds in [0, 1]; NaN where n is 0.

    Raises:
        InputError: level outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError(f"level must lie in (0, 1), got {level}")
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (k + z2 / 2) / (n + z2)
        half = np.sqrt(z2 * (k * (n - k) / n + z2 / 4)) / (n + z2)
    # At k = 0 and k = n the exact bound is 0 or 1; rounding would leave 1e-17 there.
    low = np.where(k == 0, np.where(n == 0, np.nan, 0.0), centre - half)
    high = np.where(k == n, np.where(n == 0, np.nan, 1.0), centre + half)
    return low, high


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Give one proportion with its Wilson interval; see `wilson_bounds`.

    Examples:
        >>> {key: round(number, 3) for key, number in wilson(3, 4).items()}
        {'value': 0.75, 'low': 0.301, 'high': 0.954, 'n': 4}
    """
    low, high = wilson_bounds(np.asarray(successes), np.asarray(n), level)
    return Interval(value=successes / n if n else float("nan"), low=float(low), high=float(high), n=int(n))


def successes(interval: Interval) -> int:
    """Give k back from k/n; also of an interval read from JSON, where an undefined value is null."""
    return round(interval["value"] * interval["n"]) if interval["n"] else 0


def wilson_f1(hits: int, errors: int, level: float = 0.95) -> Interval:
    """Give F1 with an interval from Wilson's.

    F1 = 2 J / (1 + J) grows with J = TP / (TP + FP + FN), a proportion over the cases where the class is true
    or predicted (D. J. Hand et al., F*, Machine Learning 110, 451, 2021), so the bounds of J carry over.

    Args:
        hits: TP.
        errors: FP + FN.
        level: coverage.
    """
    jaccard = wilson(hits, hits + errors, level)
    value, low, high = (2 * x / (1 + x) for x in (jaccard["value"], jaccard["low"], jaccard["high"]))
    return Interval(value=value, low=low, high=high, n=jaccard["n"])
