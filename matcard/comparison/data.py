"""The data of a comparison: read and divided for each task and seed, as long as they stay what they were."""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from matcard.comparison.cells import digest
from matcard.comparison.experiment import concerning, with_sources
from matcard.data.read import divide, read_labelled
from matcard.errors import MatcardWarning
from matcard.training.config import config_from_dict, config_to_dict
from matcard.training.options import Config
from matcard.training.rundir import write_left_out
from matcard.work.content import content_of, require_same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd

    from matcard.comparison.experiment import Task
    from matcard.data.dataset import TrainingSet
    from matcard.data.options import DataOptions
    from matcard.data.samples import Samples

_MOST_KEPT = 4
"""Tables and divisions kept at once; the least recently used goes."""
_kept: OrderedDict[str, Any] = OrderedDict()
"""Those of this process, whichever cells it trains."""


def check_data(task: Task, seed: int, folder: Path) -> None:
    """Read and divide the data of a task, so that what is wrong with them shows before any training.

    Args:
        task: of an experiment.
        seed: of the division.
        folder: for what was left out, and for what the data were when the comparison began.

    Raises:
        InputError: data that cannot be read or divided, of which too much cannot be used, or that have changed.
    """
    _kept.clear()  # files may be others than they were for another comparison
    name = f"{task.name.replace('/', '-')}-{digest(_decisive(task.config['data']))[:12]}"
    section = with_sources(task.config["data"], task)
    with concerning(f"task {task.name}"):
        samples = _samples(section)
        write_left_out(samples, folder / f"{name}-left_out.csv")
        samples.check_left_out(_options(section).max_left_out)
        open_data(section, seed, f"task {task.name}")
    who = f"task {task.name}: the comparison in {folder.parent}, with {section['source']},"
    advice = "new runs would not compare with its own; name another --folder, or put the data back"
    require_same(content_of(samples), folder / f"{name}.parquet", who, advice)


def open_data(section: Mapping[str, Any], seed: int, what: str, *, graphs: bool = True) -> TrainingSet:
    """Read and divide data, once in a process.

    Args:
        section: of a configuration.
        seed: of the division.
        what: the data are of, for messages.
        graphs: of crystals are needed, even where they have descriptors.

    Raises:
        InputError: data that cannot be read or divided.
    """
    with concerning(what):
        data: TrainingSet = _once(
            ["division", seed, section, graphs],
            lambda: divide(_samples(section), _options(section), seed=seed, graphs=graphs),
        )
    return data


def _samples(section: Mapping[str, Any]) -> Samples:
    samples: Samples = _once(["samples", section], lambda: read_labelled(_options(section)))
    return samples


def _once(about: list[Any], make: Callable[[], Any]) -> Any:
    key = json.dumps([_decisive(part) if isinstance(part, dict) else part for part in about])
    if key not in _kept:
        _kept[key] = make()
    _kept.move_to_end(key)
    while len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
    return _kept[key]


def _options(section: Mapping[str, Any]) -> DataOptions:
    return config_from_dict({**config_to_dict(Config()), "data": dict(section)}).data


def _decisive(section: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name != "jobs"}


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
