"""What a training is worth on a part of the data, and how much better one configuration is than another."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from matcard.evaluation.metrics import classification_metrics, metric_names
from matcard.evaluation.statistics import corrected_t_test
from matcard.files import written_whole
from matcard.prediction.network import read_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Float, Int

    from matcard.training.batches import DataModule
    from matcard.training.module import TrainingModule

SCORES = "validation.npz"
RESAMPLES = 400
LEVEL = 0.95
Estimates = dict[str, dict[str, float]]
"""Metric -> `value`, with its 95 % interval from `low` to `high`; NaN where undefined."""


@dataclass(frozen=True)
class PartScores:
    """Probabilities of the n samples of a part, by one training at its best epoch.

    Attributes:
        ids: (n,) text.
        targets: (n,) classes.
        probabilities: (n, C).
        train_counts: (C,) class counts of the training part.
        class_names: (C,) text.
    """

    ids: np.ndarray
    targets: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n C"]
    train_counts: Int[np.ndarray, " C"]
    class_names: np.ndarray

    def metrics(self, drawn: Int[np.ndarray, " m"] | slice = slice(None)) -> dict[str, float]:
        """Give every metric that is one number, of all samples or of some, which may be repeated."""
        values = classification_metrics(
            self.targets[drawn],
            self.probabilities[drawn],
            class_names=self.class_names.tolist(),
            train_counts=self.train_counts,
        )
        return {name: values[name] for name in metric_names()}

    def save(self, path: Path) -> None:
        """Write them."""
        with written_whole(path) as beside:
            np.savez_compressed(beside, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    @classmethod
    def of(cls, module: TrainingModule, data: DataModule, part: str) -> PartScores:
        """Score a part."""
        scores = read_out(module.network, data.eval_dataloader(part))
        ids = data.set.ids[scores.positions].astype(str)
        return cls(ids, scores.targets, scores.probabilities, data.class_counts, np.array(data.class_names))

    @classmethod
    def load(cls, path: Path) -> PartScores:
        """Read them."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in dataclasses.fields(cls)})


def repeat_folder(folder: Path, repeat: int, repeats: int) -> Path:
    """Give the folder of one training of a trial: its own, or one in it where there are several."""
    return folder if repeats == 1 else folder / str(repeat)


def load_scores(folder: Path, repeats: int) -> list[PartScores]:
    """Read the validation probabilities of a trial, one for each fold or seed."""
    return [PartScores.load(repeat_folder(folder, i, repeats) / SCORES) for i in range(repeats)]


def mean_metrics(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """Give the mean of each metric over folds or seeds; NaN where one is undefined."""
    return {name: float(np.mean([values[name] for values in metrics])) for name in metrics[0]}


def paired_bootstrap(
    first: Sequence[PartScores], second: Sequence[PartScores], *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimates:
    """Give the gain of each metric of the first over the second, with its interval over resampled samples.

    The samples are drawn inside each class, the same for both; the metric is the mean over trainings. The interval says
    how far the difference hangs on which samples are in the part. It does not know that one of the two was chosen for
    its value there.

    Args:
        first: scores of the one, a training for each fold or seed.
        second: of the other; on other samples than the first there is no interval.
        resamples: number of resamples.
        seed: of the resampling.
    """
    if [scores.ids.tolist() for scores in first] != [scores.ids.tolist() for scores in second]:
        resamples = 0
    return _estimated(_draws(first, resamples, seed) - _draws(second, resamples, seed))


def bootstrap(scores: Sequence[PartScores], *, resamples: int = RESAMPLES, seed: int = 0) -> Estimates:
    """Give the mean of each metric over trainings, with its interval over samples drawn anew inside each class."""
    return _estimated(_draws(scores, resamples, seed))


def over_seeds(first: Sequence[PartScores], second: Sequence[PartScores]) -> Estimates:
    """Give the mean gain of each metric of the first over the second, by the corrected resampled t-test over seeds.

    Args:
        first: scores of the validation parts of the one, a seed each.
        second: of the other, with the same seeds.
    """
    share = float(np.mean([len(scores.targets) / scores.train_counts.sum() for scores in first]))
    a, b = (pd.DataFrame([scores.metrics() for scores in side]) for side in (first, second))
    tested = {str(name): corrected_t_test(a[name].tolist(), b[name].tolist(), share, LEVEL) for name in a}
    return {name: {"value": found.mean, "low": found.low, "high": found.high} for name, found in tested.items()}


def _estimated(draws: pd.DataFrame) -> Estimates:
    """Give the first of the draws, which is of the samples as they are, and the interval of the others."""
    others = draws[1:] if len(draws) > 1 else draws * np.nan
    low, high = np.quantile(others, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    found = zip(draws, draws.iloc[0].tolist(), low.tolist(), high.tolist(), strict=True)
    return {str(name): {"value": value, "low": low, "high": high} for name, value, low, high in found}


def _draws(scores: Sequence[PartScores], resamples: int, seed: int) -> pd.DataFrame:
    """Give the mean of each metric over trainings, of the samples as they are and of each resample, a row each."""
    means = [mean_metrics([one.metrics() for one in scores])]
    for number in range(resamples):
        # Trainings scored on the same samples are resampled alike: they are one part, looked at several times.
        drawn = [one.metrics(_drawn(one.targets, np.random.default_rng((seed, number)))) for one in scores]
        means.append(mean_metrics(drawn))
    return pd.DataFrame(means)


def _drawn(targets: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Draw as many samples of each class as there are, with replacement."""
    members = (np.flatnonzero(targets == label) for label in np.unique(targets))
    return np.concatenate([rng.choice(of_class, len(of_class)) for of_class in members])
