"""What a configuration is worth on validation: a training for each fold or seed, and their mean."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import yaml
from rich.console import Console

from matcard.evaluation.metrics import classification_metrics, metric_names
from matcard.files import written_whole
from matcard.prediction.network import read_out
from matcard.training.config import config_to_dict
from matcard.training.fit import fit
from matcard.training.rundir import RunDir, write_text
from matcard.work.attempt import NoValueError, StoppedError
from matcard.work.trainings import told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Float, Int
    from lightning.pytorch.callbacks import Callback

    from matcard.training.batches import DataModule
    from matcard.training.module import TrainingModule
    from matcard.training.options import Config

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


def trained(
    config: Config, data: DataModule, folder: Path, *, keep_weights: bool, callbacks: Sequence[Callback] = ()
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
        with told(), warnings.catch_warnings():
            # What libraries tell programmers, and matcard of every trial alike; a collapse is told below.
            warnings.simplefilter("ignore")
            module = fit(run, config, data, Console(quiet=True), callbacks)
            if module is None:
                raise NoValueError("a trial trains on one device")
            scores = PartScores.of(module, data, "val")
    except (StoppedError, KeyboardInterrupt):
        raise  # to be gone on with
    except BaseException:
        _clean(run, keep_weights)
        raise
    predicted = np.unique(scores.probabilities.argmax(axis=1))
    if len(predicted) == 1:
        raise NoValueError(f"collapsed: the best epoch predicts {data.class_names[predicted[0]]!r} for every sample")
    scores.save(folder / SCORES)
    _clean(run, keep_weights)
    return scores


def _clean(run: RunDir, keep_weights: bool) -> None:
    if not keep_weights:
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        shutil.rmtree(run.path / "tensorboard", ignore_errors=True)
