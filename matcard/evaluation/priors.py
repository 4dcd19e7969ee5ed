"""Class shares that are not those of training: how far off, which they may be, and the probabilities under them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.checks import check_counts, check_probabilities

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int

_MAX_STEPS = 10_000
_STILL = 1e-8
"""Shares that move by less in a step have settled."""


class ShareShift(NamedTuple):
    """How far the class shares of new samples are from those of training.

    `total_variation` is half the sum of the absolute differences: the share of samples that would have to change
    class. `p_value` is that of a chi-square test of homogeneity of the two counts.
    """

    total_variation: float
    chi_square: float
    p_value: float


def share_shift(train_counts: Int[np.ndarray, " C"], counts: Int[np.ndarray, " C"]) -> ShareShift:
    """Compare class counts of new samples with those of the training part.

    Raises:
        InputError: counts of different lengths, or none at all.
    """
    from scipy.stats import chi2_contingency

    old = check_counts(train_counts, len(train_counts))
    new = check_counts(counts, len(old))
    variation = float(np.abs(old / old.sum() - new / new.sum()).sum() / 2)
    seen = (old + new) > 0
    if seen.sum() < 2:
        return ShareShift(variation, 0.0, 1.0)
    test = chi2_contingency(np.stack([old[seen], new[seen]]), correction=False)
    return ShareShift(variation, float(test.statistic), float(test.pvalue))


def with_priors(
    probabilities: Float[np.ndarray, "n C"], old: Float[np.ndarray, " C"], new: Float[np.ndarray, " C"]
) -> Float64[np.ndarray, "n C"]:
    """Give the probabilities where the classes have the shares `new` in place of `old`: p_c new_c / old_c, normalised.

    Supposes that only the shares differ, and that the probabilities follow `old` (M. Saerens, P. Latinne and
    C. Decaestecker, Neural Computation 14, 21, 2002, eq. 2.4). A class that has neither share keeps its probability.

    Args:
        probabilities: one row a sample.
        old: counts or shares of training.
        new: counts or shares of the new samples.

    Raises:
        InputError: malformed input, a share above 0 of a class that training has not, or a sample that is left with
            none.
    """
    num_classes = np.shape(probabilities)[-1]
    p = check_probabilities(probabilities, num_classes).astype(np.float64)
    old, new = (check_counts(shares, num_classes) for shares in (old, new))
    if ((old == 0) & (new > 0)).any():
        raise InputError("no probability can be corrected for a class that has no training sample")
    weights = np.divide(new / new.sum(), old / old.sum(), out=np.ones(num_classes), where=old > 0)
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
        probabilities: one row a sample, calibrated for the training shares.
        train_counts: class counts of the training part.

    Returns:
        shares that sum to one; 0 for classes without a training sample.

    Raises:
        InputError: malformed input.
    """
    num_classes = np.shape(probabilities)[-1]
    old = check_counts(train_counts, num_classes)
    p = check_probabilities(probabilities, num_classes).astype(np.float64)
    ratio = np.divide(p, old / old.sum(), out=np.zeros_like(p), where=old > 0)
    shares = old / old.sum()
    for _ in range(_MAX_STEPS):
        weighted = ratio * shares
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
