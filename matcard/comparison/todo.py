"""Cells for a machine without the packages that read crystals: their files, their data, and the commands."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matcard.comparison.cells import CellStore, description
from matcard.comparison.data import PreparedData
from matcard.comparison.plan import Plan
from matcard.evaluation.jsonfile import to_json
from matcard.files import written_whole
from matcard.models.transfer import weights_file
from matcard.training.rundir import write_text

if TYPE_CHECKING:
    from rich.console import Console

    from matcard.comparison.cells import Cell
    from matcard.comparison.experiment import Experiment
    from matcard.comparison.worker import Folder


def write_todo(experiment: Experiment, folder: Folder, console: Console) -> None:
    """Write a file for each network that can be trained now, prepare its data, and write the commands to `todo.sh`.

    The next trials of a search follow from the outcomes of those before, so a search takes a round for each trial.
    """
    plan = Plan(experiment, CellStore(folder.cells))
    data = PreparedData(folder.prepared)
    commands = []
    for cell in plan.ready(plan.rows()):
        if cell.kind != "network":
            continue
        prepared = data.prepared(plan.tasks[cell.task], int(cell.config["seed"]))
        source = folder.todo / f"{cell.key}.json"
        to_json({**description(cell), "config": _with_weights(cell, folder)}, source)
        out = plan.store.path(cell)
        words = [str(path.relative_to(folder.path)) for path in (source, prepared, out)]
        command = shlex.join(["python", "-m", "matcard.comparison.cell", *words])
        commands.append(f"[ -e {shlex.quote(words[-1])} ] || {command}")
    script = folder.path / "todo.sh"
    write_text(script, "\n".join(["#!/bin/sh", "mkdir -p cells", *commands]) + "\n")
    console.print(
        f"{len(commands)} cells: copy {folder.path} to the machine, run `sh todo.sh` in it, and copy its cells back",
        soft_wrap=True,
        markup=False,
    )


def _with_weights(cell: Cell, folder: Folder) -> dict[str, Any]:
    """Copy the weights that a cell starts from into the folder, and give the configuration that finds them there."""
    config = dict(cell.config)
    if cell.weights is None:
        return config
    source = weights_file(Path(config["model"]["init_from"]))
    copy = folder.path / "weights" / f"{cell.weights[:12]}{source.suffix}"
    if not copy.exists():
        with written_whole(copy) as beside:
            shutil.copyfile(source, beside)
    config["model"] = {**config["model"], "init_from": str(copy.relative_to(folder.path))}
    return config
