"""The data of a comparison: read and divided for each task and seed, as long as the sources stay as they were."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from matcard.comparison.cells import digest
from matcard.comparison.experiment import concerning, with_sources
from matcard.data.card import card_names
from matcard.data.prepare import prepare, read_labelled
from matcard.errors import InputError, MatcardWarning
from matcard.files import to_json
from matcard.training.config import config_from_dict

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from matcard.comparison.experiment import Task
    from matcard.data.labelled import LabelledData
    from matcard.data.labelling import LabelledTable
    from matcard.data.options import DataOptions


class TaskData:
    """Gives the divided samples of a task and seed; those of the last source and the last division are kept.

    Args:
        folder: for what is noted of the sources; several workers may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[DataOptions, LabelledTable] | None = None
        self._divided: tuple[Any, LabelledData] | None = None

    def require_same_sources(self, task: Task) -> None:
        """Check that the files of a task are those that the comparison began with, by their content.

        Raises:
            InputError: they are not, or one is missing.
        """
        from matcard.crystals.read import source_digest

        data = with_sources(task.config["data"], task)
        own = {name: data[name] for name in ("source", "test_source") if data[name] not in (None, *card_names())}
        if not own:
            return
        found = {name: source_digest(path, self._folder / "states") for name, path in own.items()}
        note = self._folder / f"{_file_name(task)}-{digest(_decisive(task))[:12]}-sources.json"
        if not note.exists():
            to_json(found, note)
        known = json.loads(note.read_text(encoding="utf-8"))
        for name, path in own.items():
            if known.get(name) != found[name]:
                raise InputError(
                    f"task {task.name}: {path} is not what it was when this comparison began, so new runs would not "
                    f"compare with those in {self._folder.parent}; name another --folder, or put the file back"
                )

    def open(self, task: Task, seed: int) -> LabelledData:
        """Read and divide the data of a task.

        Raises:
            InputError: data that cannot be read or divided, of which too much cannot be used, or that have changed.
        """
        key = [_decisive(task), seed]
        if self._divided is None or self._divided[0] != key:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.require_same_sources(task)
            data = with_sources(task.config["data"], task)
            options = config_from_dict({**task.config, "data": data}).data
            with concerning(f"task {task.name}"):
                labelled = self._labelled(options)
                listed = self._folder / f"{_file_name(task)}-{digest(_decisive(task))[:12]}-left_out.csv"
                labelled.write_left_out(listed)
                labelled.check_left_out(options.max_left_out)
                self._divided = (key, prepare(labelled, options, seed=seed))
        return self._divided[1]

    def _labelled(self, options: DataOptions) -> LabelledTable:
        """Read a source; that of the last call is kept, since its other seeds come next."""
        if self._read is None or self._read[0] != options:
            self._read = (options, read_labelled(options))
        return self._read[1]


def _decisive(task: Task) -> dict[str, Any]:
    return {name: value for name, value in task.config["data"].items() if name != "jobs"}


def _file_name(task: Task) -> str:
    return task.name.replace("/", "-")


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
