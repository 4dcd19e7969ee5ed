"""From a configuration to batches, telling on screen and in the run's files what is used and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.data.prepare import prepare, read_labelled
from matcard.errors import InputError
from matcard.evaluation.tables import class_count_table
from matcard.progress import crystal_progress
from matcard.training.rundir import write_text

if TYPE_CHECKING:
    from rich.console import Console

    from matcard.data.labelled import LabelledData
    from matcard.data.labelling import LabelledTable
    from matcard.training.data import DataModule
    from matcard.training.options import Config
    from matcard.training.rundir import RunDir


def read_data(config: Config, console: Console) -> LabelledTable:
    """Read the samples of a configuration and give each its class.

    Raises:
        InputError: no such source or column, a target that gives fewer than two classes, an unreadable file.
    """
    with crystal_progress(console, "parsing") as progress:
        return read_labelled(config.data, progress)


def prepare_data(run: RunDir, config: Config, labelled: LabelledTable, console: Console) -> LabelledData:
    """Write what was left out, split, and build the graphs of crystals; or split as the run did before it was killed.

    Raises:
        InputError: too much was left out, a split that cannot be made, or data that have changed since.
    """
    labelled.write_left_out(run.left_out)
    labelled.check_left_out(config.data.max_left_out, run.left_out)
    saved = run.split.read_text(encoding="utf-8") if run.split.is_file() else None
    with crystal_progress(console, "crystals to graphs") as progress:
        data = prepare(labelled, config.data, seed=config.seed, saved_split=saved, progress=progress)
    if saved is None:
        # The split last: where it is found, by a resumed run or by another process, the fingerprint is there too.
        write_text(run.fingerprint, data.fingerprint + "\n")
        write_text(run.split, data.split.to_json(data.ids))
    elif run.fingerprint.read_text(encoding="utf-8").strip() != data.fingerprint:
        raise InputError(
            f"--resume {run.path}: the labels of {config.data.source} have changed since the run began; start a new run"
        )
    return data


def show_data(run: RunDir, config: Config, data: DataModule, labelled: LabelledTable, console: Console) -> None:
    """Print the classes of each part, what was left out or cut, and what is odd about the data."""
    counts = {part: data.count(part) for part in data.parts}
    cut = data.labelled.split.cut
    if len(cut):
        counts["cut"] = np.bincount(data.codes[cut], minlength=data.num_classes)
    console.print(class_count_table(data.class_names, counts, labelled.left_out_counts))
    if len(cut):
        console.print(f"{len(cut)} {data.labelled.unit} are cut out of the parts on purpose, see {run.split}")
    if len(labelled.unlabelled):
        console.print(f"{len(labelled.unlabelled)} rows without a target are left out, see {run.left_out}")
    for name, count in labelled.lost_classes.items():
        console.print(f"{count} rows left out are of class {name!r}, which has no row that can be used")
    for note in data.labelled.notes:
        console.print(note)
