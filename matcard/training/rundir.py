"""The directory of a run: what lies where, written whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from matcard.cli import rank
from matcard.descriptors.describe import FILE, find_descriptors
from matcard.errors import InputError
from matcard.files import first_free, to_json, written_whole
from matcard.training.config import config_from_dict, config_to_dict, read_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matcard.data.dataset import TrainingSet
    from matcard.data.draws import Distinct
    from matcard.data.samples import Samples
    from matcard.training.options import Config

_PACKAGES = (
    "matcard", "torch", "torch-geometric", "lightning", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn",
    "pymatgen", "matminer", "ase", "optuna",
)  # fmt: skip
_FILES = (("data", "source"), ("data", "test_source"), ("model", "init_from"), ("decision", "costs"))
"""Options that name files."""
_RUN_DIR_VARIABLE = "MATCARD_RUN_DIR"


class RunDir:
    """Names of the files in a run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        """The resolved configuration; `matcard.train --config` of it repeats the run."""
        self.split = path / "split.json"
        """The three parts, by id."""
        self.fingerprint = path / "data.sha256"
        """Sha256 of the inputs, the labels and the split, so that a resumed run sees the same data."""
        self.left_out = path / "left_out.csv"
        """What was not used, by id, with the reason."""
        self.distinct = path / "distinct.json"
        """How many distinct samples of each class the training part holds; only where that was counted."""
        self.metrics = path / "metrics.csv"
        """Loss terms and validation metrics, a row an epoch."""
        self.checkpoints = path / "checkpoints"
        """Folder of `best.ckpt` and `last.ckpt`."""
        self.best = self.checkpoints / "best.ckpt"
        """The epoch with the best monitored metric."""
        self.last = self.checkpoints / "last.ckpt"
        """The last finished epoch."""
        self.test_metrics = path / "test_metrics.json"
        """Metrics of the test part at the best epoch; its presence says that the run is finished."""
        self.decision = path / "decision.json"
        """The decision rule that was chosen on the validation part."""
        self.predictions = path / "predictions.parquet"
        """Every sample: `id`, `split`, `target`, `predicted` (the most likely class), `predicted_at_decision`, and
        `prob_<class>` for each class; of each number that is predicted `number_<column>`, the true one, and
        `value_<column>`, the predicted one."""
        self.embeddings = path / "embeddings.npz"
        """`id`, `split`, `target` (class index) and `embedding` (float32) of each sample, or of a random choice of
        those that `total` counts."""
        self.environment = path / "environment.json"
        """Versions, commit and device."""

    @classmethod
    def planned(cls, config: Config) -> RunDir:
        """Name the directory of a new run; nothing is made.

        Raises:
            InputError: the directory holds something already, or cannot be made.
        """
        if rank() != 0:
            # Lightning starts the other ranks with the same command line: they share the first's directory.
            if shared := config.run_dir or os.environ.get(_RUN_DIR_VARIABLE):
                return cls(Path(shared))
            raise InputError(
                "torchrun or srun has started several processes, which must agree on the run's directory: name it by "
                "--run_dir"
            )
        path = (
            Path(config.run_dir)
            if config.run_dir
            else first_free(Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}")
        )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"--run_dir {path} exists and is not empty: name another, or go on with it by --resume {path}"
            )
        parent = next((parent for parent in path.absolute().parents if parent.exists()), path)
        if not path.exists() and not (parent.is_dir() and os.access(parent, os.W_OK)):
            raise InputError(f"--run_dir {path} cannot be made ({parent} cannot be written to): name another")
        return cls(path)

    def create(self, config: Config, samples: Samples, divided: TrainingSet, distinct: Distinct | None = None) -> None:
        """Make the directory and write what is known before the training.

        Args:
            config: of the run.
            samples: all rows of the source.
            divided: those that are used, in their parts.
            distinct: how many distinct samples the training part holds, where that was counted.

        Raises:
            InputError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--run_dir {self.path} cannot be made ({error.strerror}): name another") from error
        os.environ[_RUN_DIR_VARIABLE] = str(self.path.resolve())
        values = {**with_resolved_paths(config_to_dict(config)), "run_dir": None}
        write_text(self.config, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        write_text(self.environment, json.dumps(environment(), indent=2) + "\n")
        rest, more = np.arange(len(samples)), divided.unlabelled
        write_left_out(samples.take(rest if more is None else np.delete(rest, more.rows[more.chosen])), self.left_out)
        if distinct is not None:
            to_json(asdict(distinct), self.distinct)
        # The split last: where it is found, by a resumed run or by another process, all else is there too.
        write_text(self.fingerprint, divided.fingerprint + "\n")
        write_text(self.split, divided.split.to_json(divided.samples.ids))

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Open the directory of an earlier run.

        Raises:
            InputError: it is none.
        """
        run = cls(path)
        if not run.config.is_file():
            raise InputError(f"{path} is not the directory of a run: it has no config.yaml")
        return run

    @classmethod
    def unfinished(cls, path: Path) -> RunDir:
        """Open the directory of a run that was killed.

        Raises:
            InputError: it is none, or the run is finished.
        """
        run = cls.open(path)
        if run.test_metrics.is_file():
            raise InputError(f"{path} is finished: its test metrics are in {run.test_metrics}")
        return run

    def load_config(self) -> Config:
        """Read the resolved configuration."""
        return config_from_dict(read_config(self.config))


def with_resolved_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a configuration with the paths of files that are there in full, so that it repeats a run from any folder."""
    resolved = {**values}
    for part, option in _FILES:
        if (value := resolved[part][option]) and Path(value).exists():
            resolved[part] = {**resolved[part], option: str(Path(value).resolve())}
    if FILE in (text := resolved["data"]["descriptors"]):
        names = [each.name for each in find_descriptors(text)]
        resolved["data"] = {**resolved["data"], "descriptors": ",".join(names)}
    return resolved


def write_left_out(samples: Samples, path: Path) -> None:
    """Write every row that is not used: id, where, reason, class."""
    with written_whole(path) as beside:
        samples.left_out.to_csv(beside, index=False)


def write_text(path: Path, text: str) -> None:
    """Write a file whole: a killed run leaves the old one or the new one."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def environment() -> dict[str, Any]:
    """Describe what a run ran on: versions, git commit of the code, device."""
    import torch

    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    cuda = torch.cuda.is_available()
    # What started this program: `python -m matcard.train`, or the name of the user's own file.
    module = getattr(sys.modules["__main__"], "__spec__", None)
    started = ["python", "-m", module.name.removesuffix(".__main__")] if module else [Path(sys.argv[0]).name]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "git_commit": _commit(),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "devices": torch.cuda.device_count() if cuda else 0,
        "threads": torch.get_num_threads(),
        "command": [*started, *sys.argv[1:]],
    }


def _commit() -> str | None:
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():  # of a wheel inside somebody's repository git would give that one's commit
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
