"""How much better one configuration is than another on the same samples, with an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcard.evaluation.statistics import corrected_t_test
from matcard.study.trial.evaluation import mean_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int

    from matcard.study.trial.evaluation import PartScores

RESAMPLES = 400
LEVEL = 0.95


class Gain(NamedTuple):
    """A number with its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float


def paired_bootstrap(
    first: Sequence[PartScores], second: Sequence[PartScores], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Gain] | None:
    """Give the gain of each metric of the first over the second, over resampled samples.

    The samples are drawn inside each class, the same for both; the metric is the mean over trainings. The interval says
    how far the difference hangs on which samples are in the part. It does not know that one of the two was chosen for
    its value there.

    Args:
        first: scores of the one, a training for each fold or seed.
        second: of the other, on the same samples.
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        Metric -> gain; None where the two were not scored on the same samples.
    """
    if [scores.ids.tolist() for scores in first] != [scores.ids.tolist() for scores in second]:
        return None
    a, b = (_draws(scores, resamples, seed) for scores in (first, second))
    return {name: _estimate(a[name] - b[name]) for name in a}


def bootstrap(scores: Sequence[PartScores], *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Gain]:
    """Give the mean of each metric over trainings, with its interval over samples drawn anew inside each class."""
    return {name: _estimate(values) for name, values in _draws(scores, resamples, seed).items()}


def over_seeds(first: Sequence[float], second: Sequence[float], validation_share: float) -> Gain:
    """Give the mean gain of one metric of the first over the second, by the corrected resampled t-test over seeds.

    Args:
        first: values of the one, a number a seed.
        second: of the other, with the same seeds.
        validation_share: ratio of validation to training samples.
    """
    return Gain(*corrected_t_test(first, second, validation_share, LEVEL)[:3])


def _estimate(draws: Float[np.ndarray, " B"]) -> Gain:
    """Give the first of the draws, which is of the samples as they are, and the interval of the others."""
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return Gain(float(draws[0]), *np.quantile(draws[1:], tails).tolist())


def _draws(scores: Sequence[PartScores], resamples: int, seed: int) -> dict[str, Float[np.ndarray, " B"]]:
    """Give the mean of each metric over trainings, of the samples as they are and of each resample."""
    means = [mean_metrics([one.metrics() for one in scores])]
    rng = np.random.default_rng(seed)
    # Trainings scored on the same samples are resampled together: they are one part, looked at several times.
    same = all(np.array_equal(one.ids, scores[0].ids) for one in scores)
    for _ in range(resamples):
        drawn = [_drawn(scores[0].targets, rng)] * len(scores) if same else [_drawn(s.targets, rng) for s in scores]
        means.append(mean_metrics([one.metrics(i) for one, i in zip(scores, drawn, strict=True)]))
    return {name: np.array([mean[name] for mean in means]) for name in means[0]}


def _drawn(targets: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Draw as many samples of each class as there are, with replacement."""
    members = (np.flatnonzero(targets == label) for label in np.unique(targets))
    return np.concatenate([rng.choice(of_class, len(of_class)) for of_class in members])
