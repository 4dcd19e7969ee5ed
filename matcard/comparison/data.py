"""The data of a comparison: read and divided for each task and seed, as long as they stay what they were."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.comparison.cells import digest
from matcard.comparison.experiment import concerning, with_sources
from matcard.comparison.rivals import features_of, rival_options
from matcard.crystals.crystals import Crystals
from matcard.data.dealing import deal
from matcard.data.groups import group_keys
from matcard.data.read import divide, open_inputs, read_labelled
from matcard.data.splits import Split, inner_split, make_split, split_samples
from matcard.errors import MatcardWarning
from matcard.training.batches import DataModule
from matcard.training.config import config_from_dict, config_to_dict
from matcard.training.options import BY_CLASS, Config
from matcard.training.rundir import write_left_out
from matcard.work.content import content_of, require_same

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from jaxtyping import Int64, Shaped
    from torch.utils.data import Dataset

    from matcard.comparison.cells import Cell
    from matcard.comparison.experiment import Experiment, Task
    from matcard.data.dataset import TrainingSet
    from matcard.data.options import DataOptions
    from matcard.data.samples import Samples

DEVELOPMENT = 0.2
"""Share of the groups that options are chosen on where no test part may hold them."""
_MOST_KEPT = 4
"""Sources and divisions kept at once in a process, whichever cells it trains; the least recently used goes."""


def check_data(experiment: Experiment, task: Task, folder: Path) -> None:
    """Read and divide the data of a task, so that what is wrong with them shows before any training.

    Args:
        experiment: the whole.
        task: one of its data sets.
        folder: for what was left out, and for what the data were when the comparison began.

    Raises:
        InputError: data that cannot be read or divided, of which too much cannot be used, or that have changed; a
            sampler or a rival that wants of them what they have not.
    """
    for kept in (_samples, _inputs, _groups, _divided):
        kept.cache_clear()  # files may be others than they were for another comparison
    name = f"{task.name.replace('/', '-')}-{digest({**task.config['data'], 'jobs': None})[:12]}"
    section = with_sources(task.config["data"], task)
    configs = {method.label: experiment.base(task, method) for method in experiment.methods_of(task)}
    networks = {label: config_from_dict(config) for label, config in configs.items() if "rival" not in config}
    development = experiment.tunes_on(task) == "development"
    with concerning(f"task {task.name}"):
        samples = _samples(json.dumps(section))
        write_left_out(samples, folder / f"{name}-left_out.csv")
        samples.check_left_out(_options(json.dumps(section)).max_left_out)
        graphs = any(config.model.sees_graphs for config in networks.values())
        data = open_data(section, experiment.seed, graphs=graphs, part="rest" if development else "all")
    who = f"task {task.name}: the comparison in {folder.parent}, with {section['source']},"
    advice = "new runs would not compare with its own; name another --folder, or put the data back"
    require_same(content_of(samples), folder / f"{name}.parquet", who, advice)
    for label, config in configs.items():
        with concerning(f"{label} on {task.name}"):
            if label not in networks:
                if isinstance(samples.inputs, Crystals):  # whose descriptors are kept for all cells
                    features_of(data, rival_options(config["rival"]), jobs=section["jobs"])
            elif networks[label].trainer.sampler not in BY_CLASS:
                _ = DataModule(data, networks[label]).draws


def data_of(cell: Cell, section: Mapping[str, Any]) -> TrainingSet:
    """Give the samples of a cell in their parts; see `open_data`.

    Args:
        cell: what is trained.
        section: of the configuration, with its sources as they are found here.

    Raises:
        InputError: data that cannot be read or divided.
    """
    graphs = cell.kind == "network" and config_from_dict(cell.config).model.sees_graphs
    part = {"trial": "development", "test": "rest"}[cell.stage] if cell.development else "all"
    with concerning(f"task {cell.task}"):
        return open_data(section, int(cell.config["seed"]), graphs=graphs, part=part)


def open_data(section: Mapping[str, Any], seed: int, *, graphs: bool = True, part: str = "all") -> TrainingSet:
    """Read and divide data, once in a process.

    Args:
        section: of a configuration.
        seed: of the division.
        graphs: of crystals are needed, even where they have descriptors.
        part: what is divided: `all`; the `development` part, a fifth of the groups, the same for every seed, into two
            halves to train on and to choose by, none to test; the `rest` of it, into parts of the sizes that the
            options say, where the development part goes to the training part.

    Raises:
        InputError: data that cannot be read or divided.
    """
    return _divided(json.dumps(section), seed, graphs, part)


@lru_cache(_MOST_KEPT)
def _samples(section: str) -> Samples:
    return read_labelled(_options(section))


@lru_cache(_MOST_KEPT)
def _inputs(section: str, graphs: bool) -> tuple[Samples, Dataset[Any]]:
    return open_inputs(_samples(section), _options(section), graphs=graphs)


@lru_cache(_MOST_KEPT)
def _divided(section: str, seed: int, graphs: bool, part: str) -> TrainingSet:
    split = _split(section, seed, part)  # before graphs are built, should it fail
    return divide(_samples(section), _options(section), seed=seed, split=split, inputs=_inputs(section, graphs))


def _split(section: str, seed: int, part: str) -> Split:
    options = _options(section).split
    if part == "all":
        return split_samples(_samples(section), options, seed=seed)
    codes, groups, kind, tuned = _groups(section)
    about: dict[str, Any] = {"kind": kind, "seed": seed, "class_names": _samples(section).class_names}
    if part == "development":
        return _at(tuned, inner_split(codes[tuned], groups[tuned], 0.5, **about))
    rest = np.setdiff1d(np.arange(len(codes)), tuned)
    shares = np.array([options.fractions[0] - DEVELOPMENT, *options.fractions[1:]]) / (1 - DEVELOPMENT)
    divided = make_split(codes[rest], groups[rest], fractions=tuple(shares.tolist()), **about)
    split = _at(rest, divided)
    return replace(split, train=np.union1d(split.train, tuned), groups=kind)


@lru_cache(_MOST_KEPT)
def _groups(section: str) -> tuple[Int64[np.ndarray, " N"], Shaped[np.ndarray, " N"], str, Int64[np.ndarray, " d"]]:
    """Give classes and groups, of which kind these are, and the positions of the development part."""
    samples = _samples(section)
    used = samples.take(samples.used)
    kind = split_samples(samples, _options(section).split).groups
    groups = group_keys(used, kind)
    part = deal(used.codes, groups, np.array([1 - DEVELOPMENT, DEVELOPMENT]), np.random.default_rng(0))
    return used.codes, groups, kind, np.flatnonzero(part)


def _at(positions: Int64[np.ndarray, " n"], split: Split) -> Split:
    """Give a split of some samples as one of all."""
    return replace(split, **{part: positions[getattr(split, part)] for part in ("train", "val", "test")})


def _options(section: str) -> DataOptions:
    return config_from_dict({**config_to_dict(Config()), "data": json.loads(section)}).data


def data_sha256(data: TrainingSet) -> str:
    """Give the sha256 of samples and labels, which are the same for every seed, as their division is not."""
    return digest([line for line in data.fingerprint.splitlines() if not line.endswith("  split")])


def tell_changed(results: pd.DataFrame) -> None:
    """Warn where runs of one task saw different data: its ids and classes are the same for every seed."""
    for task, runs in results.dropna(subset=["data_sha256"]).groupby("task", sort=False):
        commonest = runs["data_sha256"].mode()[0]
        others = runs[runs["data_sha256"] != commonest]
        if len(others):
            first = others.iloc[0]
            warnings.warn(
                f"{task}: {len(others)} of {len(runs)} runs saw other ids or classes than the rest, the first of them "
                f"{first['method']}, seed {first['seed']}: the data have changed in between, so the runs do not "
                "compare (data_sha256 in results.parquet tells them apart); name another --folder",
                MatcardWarning,
                stacklevel=3,
            )
