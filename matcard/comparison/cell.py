"""`python -m matcard.comparison.cell CONFIG.json PREPARED_DIR OUT.json`: one training of a comparison, anywhere.

It needs torch, torch-geometric and lightning, and none of the packages that read crystals: `--prepare` of
matcard.compare writes configurations and prepared folders for such a machine, and takes what comes back.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matcard.cli import PlainConsole, run_command
from matcard.errors import InputError, TrainingError
from matcard.study.trial.failures import TrialError, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matcard.data.labelled import LabelledData

USAGE = "usage: python -m matcard.comparison.cell CONFIG.json PREPARED_DIR OUT.json"


class Quiet(PlainConsole):
    """A console that says nothing."""

    def print(self, *objects: object, **options: object) -> None:
        """Print nothing."""


def main(argv: Sequence[str]) -> None:
    """Train as a cell's file says, from prepared data, and write the cell with its outcome.

    Raises:
        InputError: not such files.
        TrainingError: the training failed, and that is written too, so that `--prepare` does not ask for it again.
    """
    if list(argv) in (["-h"], ["--help"]):
        print(__doc__)
        return
    if len(argv) != 3:
        raise InputError(USAGE)
    source, prepared, out = map(Path, argv)
    try:
        cell = json.loads(source.read_text(encoding="utf-8"))
        config, stage = cell["config"], cell["stage"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{source}: not the file of a cell ({error}); matcard.compare --prepare writes them"
        ) from error
    from matcard.data.prepared import open_prepared
    from matcard.evaluation.jsonfile import to_json

    data = open_prepared(prepared)
    with tempfile.TemporaryDirectory() as folder:
        record = attempted(lambda: [run_network(config, data, tested=stage == "test", folder=Path(folder))])
    to_json({**cell, **record}, out)
    if record["status"] == "failed":
        raise TrainingError(f"{source}: {record['reason']}; written to {out}")


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
    from matcard.training.config import config_from_dict
    from matcard.training.data import DataModule
    from matcard.training.fit import fit
    from matcard.training.inference import read_out
    from matcard.training.rundir import RunDir

    began = time.perf_counter()
    resolved = config_from_dict(config)
    batches = DataModule(data, resolved.trainer, resolved.seed)
    run = RunDir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told of every cell alike; a collapse is seen in the metrics
        module = fit(run, resolved, batches, Quiet())  # type: ignore[arg-type]
    assert module is not None, "a cell trains on one device"

    def score(part: str) -> Any:
        return read_out(module, batches.eval_dataloader(part)).scores[1:]

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


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
