"""One training of a comparison, and what it leaves."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from matcard.comparison.data import data_of, data_sha256
from matcard.comparison.results import measured
from matcard.comparison.rivals import run_rival
from matcard.prediction.network import read_out
from matcard.training.batches import DataModule
from matcard.training.callbacks import read_checkpoint
from matcard.training.config import config_from_dict
from matcard.training.fit import fit
from matcard.training.rundir import RunDir
from matcard.work.trainings import EndsWhenStopped, told

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matcard.comparison.cells import Cell
    from matcard.data.dataset import TrainingSet
    from matcard.work.attempt import Record, Wire


@dataclass(frozen=True)
class CellJob:
    """Trains a cell; picklable.

    Attributes:
        cell: what is trained.
        data: section of the configuration, with its sources as they are found here.
    """

    cell: Cell
    data: Mapping[str, Any]

    def __call__(self, folder: Path, line: Wire) -> Record:
        """Train, or go on with what lies in the folder, and give the run.

        Raises:
            NoValueError: out of memory.
            TrainingError: the loss stopped being finite.
            InputError: a configuration that does not go with the data, or data that cannot be read.
        """
        with told():
            data, config, tested = data_of(self.cell, self.data), self.cell.config, self.cell.stage == "test"
            began = time.perf_counter()
            if self.cell.kind == "rival":
                found = run_rival(config, data, tested=tested)
            else:
                found = run_network(config, data, tested=tested, folder=folder, line=line)
            run = {
                "seed": config["seed"],
                "best_epoch": None,
                "sizes": {part: len(getattr(data.split, part)) for part in ("train", "val", "test")},
                "data_sha256": data_sha256(data),
            }
            return {"run": {**run, **found, "seconds": time.perf_counter() - began}}


def run_network(
    config: Mapping[str, Any], data: TrainingSet, *, tested: bool, folder: Path, line: Wire
) -> dict[str, Any]:
    """Train a network and measure it at the epoch that is kept.

    Args:
        config: resolved configuration, nested.
        data: divided samples.
        tested: whether the test part is looked at, which happens once, after all has been chosen.
        folder: for checkpoints; a training that left some there is gone on with.
        line: asked whether to stop.

    Raises:
        InputError: a configuration that does not go with the data.
        TrainingError: the loss stopped being finite.
    """
    resolved = config_from_dict(config)
    batches = DataModule(data, resolved)
    run = RunDir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told of every cell alike; a collapse is seen in the metrics
        module = fit(run, resolved, batches, Console(quiet=True), [EndsWhenStopped(line)])
    assert module is not None, "a cell trains on one device"
    found = measured(
        lambda part: read_out(module.network, batches.eval_dataloader(part))[1:3],
        tested=tested,
        decision=resolved.decision,
        class_names=batches.class_names,
        train_counts=batches.class_counts,
        drawn_counts=batches.drawn_counts,
    )
    return {"best_epoch": int(read_checkpoint(run.kept(resolved.trainer.keep))["epoch"]), **found}
