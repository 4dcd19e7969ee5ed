"""What a difference is worth: intervals of means, tests of one loss against another over seeds and data sets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

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
    """A paired difference with its interval, two-sided p value and the smallest true one that would be detected."""

    mean: float
    low: float
    high: float
    p: float
    detectable: float = math.nan


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


def t_interval(values: Sequence[float]) -> Estimate:
    """Give the mean of values and Student's 95 % interval for it; NaN among them gives NaN."""
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean()) if len(sample) else math.nan
    if len(sample) < 2:
        return Estimate(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return Estimate(mean, mean - half, mean + half)


def corrected_t_test(
    values: Sequence[float], reference: Sequence[float], test_to_train: float, level: float = 0.95
) -> Difference:
    """Compare paired values over resampled splits (Nadeau and Bengio, Machine Learning 52, 239, 2003, section 3.1).

    Training parts of different seeds overlap, so that the plain t-test takes chance for a difference too often. The
    variance of the mean difference is taken to be (1/k + n_test/n_train) s^2, with k - 1 degrees of freedom.

    A true difference of t_(1+level)/2 + t_.8 standard errors is found with a probability of about .8 (H. S. Bloom,
    Evaluation Review 19, 547, 1995).

    Args:
        values: (k,) of one method, a seed each.
        reference: (k,) of the other, of the same seeds.
        test_to_train: n_test / n_train; 0 tells of these splits alone, as the plain t-test does.
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
    detectable = half + float(stats.t.ppf(0.8, k - 1)) * error
    return Difference(mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, k - 1)), detectable)


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


def compare_ranks(scores: Float[np.ndarray, "n k"]) -> Ranks:
    """Compare k methods over n data sets by their ranks (Demsar, JMLR 7, 1, 2006, section 3.2).

    Args:
        scores: larger is better; a row a data set.

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
    quantile = float(stats.studentized_range.ppf(0.95, k, np.inf)) / math.sqrt(2)
    return Ranks(
        ranks,
        float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        quantile * math.sqrt(k * (k + 1) / (6 * n)),
    )
