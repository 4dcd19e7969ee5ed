"""What a trial does: train on each fold or seed, and give the validation metrics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matcard.study.search.pruning import EpochReports, report_repeat
from matcard.study.trial.evaluation import mean_metrics, repeat_folder, trained
from matcard.training.config import config_from_dict
from matcard.work.trainings import EndsWhenStopped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lightning.pytorch.callbacks import Callback

    from matcard.study.options import StudyOptions
    from matcard.study.trial.data import TrialData
    from matcard.work.attempt import Record, Wire


@dataclass(frozen=True)
class Objective:
    """Gives every validation metric of a configuration, the mean over folds or seeds; picklable.

    Attributes:
        config: resolved and nested.
        options: of the study.
        metrics: names of the validation metrics that are a trial's values.
        data: reads and divides the data.
    """

    config: Mapping[str, Any]
    options: StudyOptions
    metrics: tuple[str, ...]
    data: TrialData

    def __call__(self, folder: Path, line: Wire) -> Record:
        """Train, or go on with what lies in the folder.

        Raises:
            PrunedError: the configuration is hopeless.
            NoValueError: it gives no value; the message says why.
            TrainingError: its loss stopped being finite.
            InputError: data that cannot be read.
        """
        config = config_from_dict(self.config)
        repeats, epochs = self.options.repeats, config.trainer.max_epochs
        by_repeat: list[dict[str, float]] = []
        reported = len(self.metrics) == 1  # of a Pareto front nobody can say which of two is worse
        by_epoch = self.options.pruner != "wilcoxon"
        for i in range(repeats):
            finished = [metrics[self.metrics[0]] for metrics in by_repeat]
            callbacks: list[Callback] = [EndsWhenStopped(line)]
            if reported and by_epoch:
                callbacks.append(EpochReports(line, self.metrics[0], finished, epochs, repeats))
            run = repeat_folder(folder, i, repeats)
            seeded = dataclasses.replace(config, seed=config.seed + i)
            scores = trained(
                seeded, self.data.batches(seeded, i), run, keep_weights=self.options.keep == "full", callbacks=callbacks
            )
            by_repeat.append(scores.metrics())
            if reported and not by_epoch:
                report_repeat(line, by_repeat[-1][self.metrics[0]], i, repeats)
        return {"metrics": mean_metrics(by_repeat)}
