"""What a number is worth: intervals of proportions, tests of one loss against another over seeds and data sets."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
from scipy import stats

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float


ROUNDING = 1e-12
"""Differences that differ by less are the same."""


class Estimate(NamedTuple):
    """A mean with its interval; NaN where one value cannot tell."""

    mean: float
    low: float
    high: float


class Difference(NamedTuple):
    """A paired difference with its interval and two-sided p value."""

    mean: float
    low: float
    high: float
    p: float


class Ranks(NamedTuple):
    """Ranks of k methods over n data sets.

    Attributes:
        mean: (k,) mean rank of each, 1 being the best.
        friedman_p: that all are alike, by Friedman's test as Iman and Davenport corrected it.
        critical_difference: of two mean ranks, by Nemenyi.
    """

    mean: Float[np.ndarray, " k"]
    friedman_p: float
    critical_difference: float


def t_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Give the mean of values and Student's interval for it; NaN among them gives NaN."""
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean()) if len(sample) else math.nan
    if len(sample) < 2:
        return Estimate(mean, math.nan, math.nan)
    half = float(stats.t.ppf((1 + level) / 2, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return Estimate(mean, mean - half, mean + half)


def corrected_t_test(
    values: Sequence[float], reference: Sequence[float], test_to_train: float, level: float = 0.95
) -> Difference:
    """Compare paired values over resampled splits (Nadeau and Bengio, Machine Learning 52, 239, 2003, section 3.1).

    Training parts of different seeds overlap, so that the plain t-test takes chance for a difference too often. The
    variance of the mean difference is taken to be (1/k + n_test/n_train) s^2, with k - 1 degrees of freedom.

    Args:
        values: (k,) of one method, a seed each.
        reference: (k,) of the other, of the same seeds.
        test_to_train: n_test / n_train.
        level: of the interval.

    Raises:
        InputError: not as many values of the one as of the other.
    """
    if len(values) != len(reference):
        raise InputError(
            f"{len(values)} values but {len(reference)} of the reference: a paired test needs the same seeds"
        )
    differences = np.asarray(values, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    k = len(differences)
    mean = float(differences.mean()) if k else math.nan
    if k < 2 or math.isnan(mean):
        return Difference(mean, math.nan, math.nan, math.nan)
    if np.ptp(differences) < ROUNDING:  # differences that are all the same have no variance to judge them by
        return Difference(mean, math.nan, math.nan, 1.0 if abs(mean) < ROUNDING else math.nan)
    error = math.sqrt((1 / k + test_to_train) * float(differences.var(ddof=1)))
    half = float(stats.t.ppf((1 + level) / 2, k - 1)) * error
    return Difference(mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, k - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm, Scandinavian J. Statistics 6, 65, 1979); NaN stays NaN and counts not.

    Examples:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for place, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * p))
        corrected[index] = largest
    return corrected


def compare_ranks(scores: Float[np.ndarray, "n k"], level: float = 0.95) -> Ranks:
    """Compare k methods over n data sets by their ranks (Demsar, JMLR 7, 1, 2006, section 3.2).

    Args:
        scores: larger is better; a row a data set.
        level: of the critical difference.

    Raises:
        InputError: fewer than two methods or data sets, or scores that are not numbers.
    """
    scores = np.asarray(scores, dtype=np.float64)
    n, k = scores.shape
    if n < 2 or k < 2 or np.isnan(scores).any():
        raise InputError(f"{n} data sets and {k} methods, all with a score: expected two of each at least")
    ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    chi2 = 12 * n / (k * (k + 1)) * (float((ranks**2).sum()) - k * (k + 1) ** 2 / 4)
    rest = n * (k - 1) - chi2
    f = math.inf if rest <= 1e-9 else (n - 1) * chi2 / rest
    quantile = float(stats.studentized_range.ppf(level, k, np.inf)) / math.sqrt(2)
    return Ranks(
        ranks,
        float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        quantile * math.sqrt(k * (k + 1) / (6 * n)),
    )


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
