"""What a trial does: train on each fold or seed, report to the pruner, and give the validation metrics."""

from __future__ import annotations

import dataclasses
import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from lightning.pytorch.callbacks import Callback

from matcard.study.scores import SCORES, PartScores, mean_metrics, repeat_folder
from matcard.training.config import config_from_dict, config_to_dict
from matcard.training.rundir import RunDir, write_text
from matcard.work.attempt import NoValueError, PrunedError, StoppedError
from matcard.work.trainings import fitted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lightning import LightningModule, Trainer

    from matcard.study.data import TrialData
    from matcard.study.options import StudyOptions
    from matcard.training.batches import DataModule
    from matcard.training.options import Config
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
        reported = len(self.metrics) == 1  # of a Pareto front nobody can say which of two is worse
        by_epoch = self.options.pruner != "wilcoxon"
        found: list[dict[str, float]] = []
        for i in range(repeats):
            seeded = dataclasses.replace(config, seed=config.seed + i)
            values = [metrics[self.metrics[0]] for metrics in found]
            reports = [EpochReports(line, self.metrics[0], values, epochs, repeats)] if reported and by_epoch else []
            scores = trained(
                seeded,
                self.data.batches(seeded, i),
                repeat_folder(folder, i, repeats),
                line,
                keep_weights=self.options.keep == "full",
                callbacks=reports,
            )
            found.append(scores.metrics())
            if reported and not by_epoch:
                report(line, i, found[i][self.metrics[0]], repeats - 1)
        return {"metrics": mean_metrics(found)}


def report(line: Wire, step: int, value: float, last: int) -> None:
    """Report the value of a trial after a step; after the last one it is paid for, and keeps its value.

    Raises:
        PrunedError: the coordinator, which knows the other trials, finds it hopeless.
    """
    if line.ask({"step": step, "value": value}) and step < last:
        raise PrunedError


@dataclass(eq=False)
class EpochReports(Callback):
    """Reports a validation metric after each epoch.

    With several folds or seeds the reported value is the mean over the finished ones and the one that runs.

    Attributes:
        line: to the coordinator.
        metric: name of the metric.
        finished: values of the finished folds or seeds.
        epochs: of one training, at most.
        repeats: number of folds or seeds.
    """

    line: Wire
    metric: str
    finished: Sequence[float]
    epochs: int
    repeats: int

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch just finished.

        Raises:
            PrunedError: the trial is hopeless.
        """
        value = trainer.callback_metrics[f"val_{self.metric}"].item()
        if math.isnan(value):
            return  # undefined so early, as the MCC of a network that predicts one class
        step = len(self.finished) * self.epochs + trainer.current_epoch
        mean = sum([*self.finished, value]) / (len(self.finished) + 1)
        report(self.line, step, mean, self.repeats * self.epochs - 1)


def trained(
    config: Config,
    data: DataModule,
    folder: Path,
    line: Wire,
    *,
    keep_weights: bool,
    callbacks: Sequence[Callback] = (),
) -> PartScores:
    """Train once, or go on with what lies in the folder, and score the validation part at the best epoch.

    The test part is not looked at.

    Raises:
        NoValueError: out of memory, or every validation sample is put in one class.
        TrainingError: the loss stopped being finite.
    """
    if (folder / SCORES).is_file():
        return PartScores.load(folder / SCORES)
    run = RunDir(folder)
    values = {**config_to_dict(config), "run_dir": None}
    write_text(run.config, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    try:
        with fitted(run, config, data, line, callbacks) as module:
            scores = PartScores.of(module, data, "val")
        predicted = np.unique(scores.probabilities.argmax(axis=1))
        if len(predicted) == 1:
            name = data.class_names[predicted[0]]
            raise NoValueError(f"collapsed: the best epoch predicts {name!r} for every sample")
        scores.save(folder / SCORES)
    except (StoppedError, KeyboardInterrupt):
        raise  # to be gone on with
    except BaseException:
        _clean(run, keep_weights)
        raise
    _clean(run, keep_weights)
    return scores


def _clean(run: RunDir, keep_weights: bool) -> None:
    if not keep_weights:
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        shutil.rmtree(run.path / "tensorboard", ignore_errors=True)
