"""One training of a comparison, and the record of how it ended."""

from __future__ import annotations

import time
import uuid
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from rich.console import Console

from matcard.errors import InputError, TrainingError
from matcard.study.trial.failures import TrialError, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from matcard.data.labelled import LabelledData


def attempted(runs: Callable[[], list[dict[str, Any]]]) -> dict[str, Any]:
    """Make the runs of a cell and give its record, whether they end well or not.

    Raises:
        KeyboardInterrupt: they were interrupted, which is no outcome.
    """
    began = time.time()
    about = {"attempt": uuid.uuid4().hex, "environment": where(), "began": began}
    try:
        with told():
            return {"status": "finished", "runs": runs(), **about}
    except TrialError as error:  # memory, which may suffice next time
        reason = str(error)
    except TrainingError as error:
        return {"status": "failed", "reason": str(error), "diverged": True, "seconds": time.time() - began, **about}
    except InputError as error:
        reason = str(error)
    except SystemExit as stopped:
        raise KeyboardInterrupt from stopped  # Lightning turns an interruption into an exit
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    return {"status": "failed", "reason": reason, "seconds": time.time() - began, **about}


def run_network(config: Mapping[str, Any], data: LabelledData, *, tested: bool, folder: Path) -> dict[str, Any]:
    """Train a network and measure it at its best epoch.

    Args:
        config: resolved configuration, nested.
        data: divided samples.
        tested: whether the test part is looked at, which happens once, after all has been chosen.
        folder: for checkpoints; a training that left some there is gone on with.

    Raises:
        InputError: a configuration that does not go with the data.
        TrainingError: the loss stopped being finite.
    """
    from matcard.comparison.outcome import measured
    from matcard.prediction.network import read_out
    from matcard.training.config import config_from_dict
    from matcard.training.data import DataModule
    from matcard.training.fit import fit
    from matcard.training.rundir import RunDir

    began = time.perf_counter()
    resolved = config_from_dict(config)
    batches = DataModule(data, resolved.trainer, resolved.seed)
    run = RunDir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told of every cell alike; a collapse is seen in the metrics
        module = fit(run, resolved, batches, Console(quiet=True))
    assert module is not None, "a cell trains on one device"

    def score(part: str) -> Any:
        return read_out(module.network, batches.eval_dataloader(part))[1:3]

    found = measured(
        score,
        tested=tested,
        decision=resolved.decision,
        class_names=batches.class_names,
        train_counts=batches.class_counts,
    )
    return {
        "seed": resolved.seed,
        "best_epoch": _best_epoch(run.best),
        "sizes": {part: len(positions) for part, positions in batches.parts.items()},
        "data_sha256": data.fingerprint,
        **found,
        "seconds": time.perf_counter() - began,
    }


def _best_epoch(checkpoint: Path) -> int:
    import torch

    return int(torch.load(checkpoint, weights_only=True, map_location="cpu")["epoch"])


@cache
def where() -> dict[str, Any]:
    """Say on what a cell ran: versions, commit, device."""
    from matcard.training.rundir import environment

    return {name: value for name, value in environment().items() if name != "command"}
