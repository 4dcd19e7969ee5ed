"""The data of a comparison: read and divided once for each task and seed, kept as a folder that any machine opens."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from filelock import FileLock

from matcard.comparison.cells import digest
from matcard.comparison.experiment import with_sources
from matcard.data.prepare import prepare, read_labelled
from matcard.data.prepared import open_prepared, save_prepared
from matcard.errors import MatcardWarning
from matcard.training.config import config_from_dict

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from matcard.comparison.experiment import Task
    from matcard.data.labelled import LabelledData
    from matcard.data.labelling import LabelledTable
    from matcard.data.options import DataOptions


class PreparedData:
    """Gives the divided samples of a task and seed, preparing them where nobody has.

    Args:
        folder: where the prepared folders are; several workers may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[DataOptions, LabelledTable] | None = None

    def path(self, task: Task, seed: int) -> Path:
        """Give the folder of a task and seed, prepared or not."""
        data = {name: value for name, value in task.config["data"].items() if name != "jobs"}
        return self._folder / f"{task.name.replace('/', '-')}-{seed}-{digest([data, seed])[:12]}"

    def prepared(self, task: Task, seed: int) -> Path:
        """Give the folder, prepared.

        Raises:
            InputError: data that cannot be read or divided, or of which too much cannot be used.
        """
        path = self.path(task, seed)
        if path.exists():
            return path
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                data = with_sources(task.config["data"], task)
                options = config_from_dict({**task.config, "data": data}).data
                labelled = self._labelled(options)
                listed = path.with_name(f"{path.name}-left_out.csv")
                labelled.write_left_out(listed)
                labelled.check_left_out(options.max_left_out, listed)
                save_prepared(prepare(labelled, options, seed=seed), path)
        return path

    def open(self, task: Task, seed: int) -> LabelledData:
        """Open the folder, preparing it first if need be.

        Raises:
            InputError: as `prepared`.
        """
        return open_prepared(self.prepared(task, seed))

    def _labelled(self, options: DataOptions) -> LabelledTable:
        """Read a source; that of the last call is kept, since its other seeds come next."""
        if self._read is None or self._read[0] != options:
            self._read = (options, read_labelled(options))
        return self._read[1]


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
