"""Cells: the single trainings of a comparison, each known by what decides its outcome and kept in its own file."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from matcard.comparison.results import measured
from matcard.comparison.rivals import features_of, rival_options, run_rival
from matcard.crystals.crystals import Crystals
from matcard.errors import concerning
from matcard.files import read_json, to_json
from matcard.models.transfer import weights_file
from matcard.prediction.network import read_out
from matcard.training.batches import DataModule
from matcard.training.callbacks import read_checkpoint
from matcard.training.config import config_from_dict
from matcard.training.options import BY_CLASS
from matcard.training.rundir import RunDir, write_left_out
from matcard.work.attempt import read_record
from matcard.work.folder import require_same
from matcard.work.trainings import Division, SharedData, fitted, told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matcard.comparison.experiment import Experiment, Task
    from matcard.data.dataset import TrainingSet
    from matcard.data.options import DataOptions
    from matcard.work.attempt import Record, Wire

PROTOCOL = 4
"""Raised whenever the way in which a cell is run changes, so that cells of another way are not taken for it."""
_NO_MATTER = (("name",), ("run_dir",), ("data", "jobs"), ("trainer", "workers"), ("trainer", "diagnostics"))
"""Options that do not change what comes out."""


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        task: name of the data set.
        method: label of the loss or rival.
        stage: a trial of the search, which sees the validation part alone, or a training that is tested in the end.
        number: of the trial, or the seed.
        config: resolved configuration, nested; sources are as the experiment writes them.
        development: whether options are chosen by a part of the data that is never tested.
    """

    task: str
    method: str
    stage: Literal["trial", "test"]
    number: int
    config: Mapping[str, Any]
    development: bool = False

    @property
    def kind(self) -> Literal["network", "rival"]:
        """What is trained."""
        return "rival" if "rival" in self.config else "network"

    @cached_property
    def key(self) -> str:
        """Sha256 of what decides the outcome; of weights that a network starts from, their content.

        Raises:
            InputError: a directory to start from without weights.
        """
        config = {name: dict(value) if isinstance(value, dict) else value for name, value in self.config.items()}
        for *groups, name in _NO_MATTER:
            section: Any = config
            for group in groups:
                section = section.get(group, {})
            section.pop(name, None)
        if start := config.get("model", {}).get("init_from"):
            weights = weights_file(Path(start))
            config["model"]["init_from"] = _sha256(weights, weights.stat().st_mtime_ns)
        about = {"protocol": PROTOCOL, "stage": self.stage, "development": self.development}
        return digest({**about, "config": config})

    @property
    def label(self) -> str:
        """What the cell is called on screen."""
        seed = f"{self.task}, {self.method}, seed {self.config.get('seed', self.number)}"
        return f"{seed}, trial {self.number}" if self.stage == "trial" else seed


class CellStore:
    """The records of the cells of a comparison, a file each; one process reads and writes them.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = {path.stem: read_record(folder, path.name) for path in folder.glob("*.json")}
        # A file under another name is no record of the cell that its name says.
        self.records = {key: record for key, record in found.items() if record and record.get("key") == key}

    def write(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Write the record of a cell that has ended, with what the cell was."""
        path = self.folder / f"{cell.key}.json"
        to_json({"key": cell.key, "protocol": PROTOCOL, **asdict(cell), **record}, path)
        self.records[cell.key] = read_json(path)  # as it is read: what is undefined is null


def digest(value: Any) -> str:
    """Give the sha256 of plain values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _sha256(path: Path, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def train_cell(cell: Cell, options: DataOptions, shared: SharedData, folder: Path, line: Wire) -> Record:
    """Train a cell, or go on with what lies in the folder, and give the run.

    Args:
        cell: what is trained.
        options: of its data, with their sources as they are found here.
        shared: reads and divides them.
        folder: for checkpoints.
        line: to the coordinator.

    Raises:
        NoValueError: out of memory.
        TrainingError: the loss stopped being finite.
        InputError: a configuration that does not go with the data, or data that cannot be read.
    """
    config, tested = cell.config, cell.stage == "test"
    graphs = cell.kind == "network" and config_from_dict(config).model.sees_graphs
    part: Any = {"trial": "development", "test": "rest"}[cell.stage] if cell.development else "all"
    with told():
        data = shared.divided(options, Division(config["seed"], part), graphs=graphs)
        began = time.perf_counter()
        if cell.kind == "rival":
            found = run_rival(config, data, tested=tested)
        else:
            found = run_network(config, data, tested=tested, folder=folder, line=line)
    # Of samples and labels, which are the same for every seed, as their division is not.
    content = digest([said for said in data.fingerprint.splitlines() if not said.endswith("  split")])
    sizes = {part: len(getattr(data.split, part)) for part in ("train", "val", "test")}
    run = {"seed": config["seed"], "best_epoch": None, "sizes": sizes, "data_sha256": content, **found}
    return {"run": {**run, "seconds": time.perf_counter() - began}}


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
    resolved, run = config_from_dict(config), RunDir(folder)
    batches = DataModule(data, resolved)
    with fitted(run, resolved, batches, line) as module:
        found = measured(
            lambda part: read_out(module.network, batches.eval_dataloader(part))[1:3],
            tested=tested,
            decision=resolved.decision,
            class_names=batches.class_names,
            train_counts=batches.class_counts,
            drawn_counts=batches.drawn_counts,
        )
    return {"best_epoch": int(read_checkpoint(getattr(run, resolved.trainer.keep))["epoch"]), **found}


def check_data(experiment: Experiment, task: Task, folder: Path, data: SharedData) -> int:
    """Read and divide the data of a task, so that what is wrong with them shows before any training.

    Args:
        experiment: the whole.
        task: one of its data sets.
        folder: for what was left out, and for what the data were when the comparison began.
        data: reads and divides them.

    Returns:
        number of rows that are not used.

    Raises:
        InputError: data that cannot be read or divided, of which too much cannot be used, or that have changed; a
            sampler or a rival that wants of them what they have not.
    """
    name = f"{task.name.replace('/', '-')}-{digest({**task.config['data'], 'jobs': None})[:12]}"
    options = task.data()
    configs = {method.label: experiment.base(task, method) for method in experiment.methods_of(task)}
    networks = {label: config_from_dict(config) for label, config in configs.items() if "rival" not in config}
    part: Any = "rest" if experiment.tunes_on(task) == "development" else "all"
    with concerning(f"task {task.name}"):
        samples = data.samples(options)
        write_left_out(samples, folder / f"{name}-left_out.csv")
        samples.check_left_out(options.max_left_out)
        graphs = any(config.model.sees_graphs for config in networks.values())
        divided = data.divided(options, Division(experiment.seed, part), graphs=graphs)
    who = f"task {task.name}: the comparison in {folder.parent}, with {options.source},"
    advice = "new runs would not compare with its own; name another --folder, or put the data back"
    require_same(divided, folder / f"{name}.parquet", who, advice)
    for label, config in configs.items():
        with concerning(f"{label} on {task.name}"):
            if label not in networks:
                if isinstance(samples.inputs, Crystals):  # whose descriptors are kept for all cells
                    features_of(divided, rival_options(config["rival"]), jobs=options.jobs)
            elif networks[label].trainer.sampler not in BY_CLASS:
                _ = DataModule(divided, networks[label]).draws
    return len(samples) - len(samples.used)
