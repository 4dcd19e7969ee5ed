"""Ending hopeless trials early, by what they report after each epoch or after each fold."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from lightning.pytorch.callbacks import Callback
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner

from matcard.work.attempt import PrunedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning import LightningModule, Trainer
    from optuna.pruners import BasePruner

    from matcard.study.options import StudyOptions
    from matcard.work.attempt import Wire


def make_pruner(options: StudyOptions, epochs: int) -> BasePruner:
    """Make the pruner of a study.

    Args:
        options: of the study.
        epochs: of one training, at most.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match options.pruner:
            case "median":
                return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4))
            case "hyperband":
                return HyperbandPruner(min_resource=1, max_resource=epochs * options.repeats)
            case "wilcoxon":
                return WilcoxonPruner()
            case _:
                return NopPruner()


class EpochReports(Callback):
    """Reports a validation metric after each epoch, and ends the trial where the pruner says so.

    With several folds or seeds the reported value is the mean over the finished ones and the one that runs. After the
    last epoch of the last one the trial is paid for and keeps its value.

    Args:
        line: to the coordinator, which knows the other trials.
        metric: name of the metric.
        finished: values of the finished folds or seeds.
        epochs: of one training, at most.
        repeats: number of folds or seeds.
    """

    def __init__(self, line: Wire, metric: str, finished: Sequence[float], epochs: int, repeats: int) -> None:
        self._line = line
        self._metric = metric
        self._finished = list(finished)
        self._before = len(finished) * epochs
        self._last = repeats * epochs - 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch just finished.

        Raises:
            PrunedError: the trial is hopeless.
        """
        value = trainer.callback_metrics[f"val_{self._metric}"].item()
        if math.isnan(value):
            return  # undefined so early, as the MCC of a network that predicts one class
        values = [*self._finished, value]
        step = self._before + trainer.current_epoch
        hopeless = self._line.ask({"step": step, "value": sum(values) / len(values)})
        if step < self._last and hopeless:
            raise PrunedError


def report_repeat(line: Wire, value: float, repeat: int, repeats: int) -> None:
    """Report a finished fold or seed, for pruning by a signed-rank test before the last.

    Raises:
        PrunedError: the trial is hopeless.
    """
    if line.ask({"step": repeat, "value": value}) and repeat < repeats - 1:
        raise PrunedError
