"""What a trial does: train on each fold or seed, report to the pruner, and score the validation part."""

from __future__ import annotations

import dataclasses
import math
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from lightning.pytorch.callbacks import LambdaCallback

from matcard.evaluation.metrics import classification_metrics, metric_names
from matcard.files import written_whole
from matcard.prediction.network import read_out
from matcard.training.batches import DataModule
from matcard.training.config import config_from_dict, config_to_dict
from matcard.training.rundir import RunDir, write_text
from matcard.work.attempt import NoValueError, PrunedError, StoppedError
from matcard.work.trainings import Division, fitted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jaxtyping import Float, Int
    from lightning import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

    from matcard.study.settings import StudyOptions
    from matcard.training.module import TrainingModule
    from matcard.training.options import Config
    from matcard.work.attempt import Record, Wire
    from matcard.work.trainings import SharedData


SCORES = "validation.npz"


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
            np.savez_compressed(beside, **vars(self))

    @classmethod
    def of(cls, module: TrainingModule, data: DataModule, part: str) -> PartScores:
        """Score a part."""
        scores = read_out(module.network, data.eval_dataloader(part))
        ids = data.set.samples.ids[scores.positions].astype(str)
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


def run_trial(
    values: Mapping[str, Any],
    options: StudyOptions,
    metrics: tuple[str, ...],
    shared: SharedData,
    folder: Path,
    line: Wire,
) -> Record:
    """Train, or go on with what lies in the folder; give every validation metric, the mean over folds or seeds.

    Args:
        values: the configuration, resolved and nested.
        options: of the study.
        metrics: names of the validation metrics that are a trial's values.
        shared: reads and divides the data.
        folder: of the trial.
        line: to the coordinator.

    Raises:
        PrunedError: the configuration is hopeless.
        NoValueError: it gives no value; the message says why.
        TrainingError: its loss stopped being finite.
        InputError: data that cannot be read.
    """
    config, repeats, folds = config_from_dict(values), options.repeats, options.folds
    reported = len(metrics) == 1  # of a Pareto front nobody can say which of two is worse
    by_epoch = options.pruner != "wilcoxon"
    found: list[dict[str, float]] = []
    for i in range(repeats):
        seeded, how = dataclasses.replace(config, seed=config.seed + i), Division(config.seed, again=i, folds=folds)
        finished = [one[metrics[0]] for one in found]
        report_it = partial(report_epoch, line, metrics[0], finished, repeats, config.trainer.max_epochs)
        scores = trained(
            seeded,
            DataModule(shared.divided(config.data, how, graphs=config.model.sees_graphs), seeded),
            repeat_folder(folder, i, repeats),
            line,
            keep_weights=options.keep == "full",
            callbacks=[LambdaCallback(on_train_epoch_end=report_it)] if reported and by_epoch else [],
        )
        found.append(scores.metrics())
        if reported and not by_epoch:
            report(line, i, found[i][metrics[0]], repeats - 1)
    return {"metrics": mean_metrics(found)}


def report_epoch(
    line: Wire, metric: str, finished: Sequence[float], repeats: int, epochs: int, trainer: Trainer, _: LightningModule
) -> None:
    """Report the metric after an epoch: the mean over the folds or seeds that are finished and the one that runs.

    Args:
        line: to the coordinator.
        metric: which.
        finished: values of the finished folds or seeds.
        repeats: how many folds or seeds there are.
        epochs: of one training, at most.
        trainer: of the one that runs.
    """
    value = trainer.callback_metrics[f"val_{metric}"].item()
    if not math.isnan(value):  # undefined so early, as the MCC of a network that predicts one class
        step = len(finished) * epochs + trainer.current_epoch
        report(line, step, float(np.mean([*finished, value])), repeats * epochs - 1)


def report(line: Wire, step: int, value: float, last: int) -> None:
    """Report the value of a trial after a step; after the last one it is paid for, and keeps its value.

    Raises:
        PrunedError: the coordinator, which knows the other trials, finds it hopeless.
    """
    if line.ask({"step": step, "value": value}) and step < last:
        raise PrunedError


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
        keep_weights = True  # to be gone on with
        raise
    finally:
        for weights in () if keep_weights else (run.checkpoints, run.path / "tensorboard"):
            shutil.rmtree(weights, ignore_errors=True)
    return scores
