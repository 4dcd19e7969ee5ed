"""What a trial does: choose, train on each fold or seed, and give the validation metrics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matcard.study.search.pruning import EpochReports, report_repeat
from matcard.study.trial.evaluation import mean_metrics, repeat_folder, trained
from matcard.training.config import config_from_dict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from optuna import Trial

    from matcard.study.folder import StudyDir
    from matcard.study.options import StudyOptions
    from matcard.study.search.space import Space
    from matcard.study.trial.data import TrialData
    from matcard.training.options import Config

METRICS = "metrics"
"""User attribute of a trial: every validation metric at the best epoch, the mean over folds or seeds."""


@dataclass(frozen=True)
class Objective:
    """Gives the value of a trial, or the values; picklable.

    Attributes:
        base: configuration of a trial, resolved and nested, that the trial's choices are laid over.
        space: what is searched.
        options: of the study.
        metrics: names of the validation metrics that are the values.
        data: reads and divides the data.
        folder: directory of the study.
    """

    base: Mapping[str, Any]
    space: Space
    options: StudyOptions
    metrics: tuple[str, ...]
    data: TrialData
    folder: StudyDir

    def __call__(self, trial: Trial) -> tuple[float, ...]:
        """Train as the trial suggests.

        Raises:
            TrialPruned: the trial is hopeless.
            TrialError: it gives no value; the message says why.
            TrainingError: its loss stopped being finite.
            InputError: no valid configuration, or data that cannot be read.
        """
        config = config_from_dict(self.space.suggest(trial, self.base))
        metrics = self.evaluate(config, self.folder.trial(trial.number), trial)
        trial.set_user_attr(METRICS, metrics)
        return tuple(metrics[name] for name in self.metrics)

    def evaluate(self, config: Config, folder: Path, trial: Trial | None = None) -> dict[str, float]:
        """Give every validation metric of a configuration, the mean over folds or seeds.

        Args:
            config: what is trained.
            folder: where the trainings write.
            trial: what values are reported to.
        """
        repeats, epochs = self.options.repeats, config.trainer.max_epochs
        by_repeat: list[dict[str, float]] = []
        reported = trial if len(self.metrics) == 1 else None
        by_epoch = self.options.pruner != "wilcoxon"
        for i in range(repeats):
            finished = [metrics[self.metrics[0]] for metrics in by_repeat]
            callbacks = []
            if reported and by_epoch:
                callbacks.append(EpochReports(reported, self.metrics[0], finished, epochs, repeats))
            run = repeat_folder(folder, i, repeats)
            seeded = dataclasses.replace(config, seed=config.seed + i)
            scores = trained(
                seeded, self.data.batches(seeded, i), run, keep_weights=self.options.keep == "full", callbacks=callbacks
            )
            by_repeat.append(scores.metrics())
            if reported and not by_epoch:
                report_repeat(reported, by_repeat[-1][self.metrics[0]], i, repeats)
        return mean_metrics(by_repeat)
