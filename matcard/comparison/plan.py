"""Which cells an experiment has, which of them can be run now, and how far it is: all by its records alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matcard.comparison.cells import Cell
from matcard.comparison.search import Search
from matcard.evaluation.metrics import higher_is_better

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matcard.comparison.cells import Stage
    from matcard.comparison.experiment import Experiment, Method, Task
    from matcard.work.attempt import Record

    Records = Mapping[str, Record]
    """Records of the cells that have ended, by key."""


def weights_sha256(start: str) -> str:
    """Give the sha256 of the file that a network starts from, by `model.init_from`.

    Raises:
        InputError: a directory without weights.
    """
    from matcard.models.transfer import weights_file

    path = weights_file(Path(start))
    return _sha256(path, path.stat().st_mtime_ns)


@cache
def _sha256(path: Path, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Row:
    """A cell with its record, or without one where it has not been run."""

    cell: Cell
    record: Record | None

    @property
    def status(self) -> str:
        """`finished`, `failed` or `missing`."""
        return "missing" if self.record is None else str(self.record["status"])


class Pair:
    """A method on a task: its trials one after the other, then the seeds that take what they chose.

    Args:
        experiment: the whole.
        task: data set.
        method: loss or rival.
        seeds: that are tested; the trials are made on the split of the first.
    """

    def __init__(self, experiment: Experiment, task: Task, method: Method, seeds: range) -> None:
        self.task = task
        self.method = method
        self._seeds = seeds
        self._experiment = experiment
        self._made: dict[tuple[Any, ...], Cell] = {}
        space = experiment.space_of(task, method)
        self._trials = experiment.trials_of(task) if space is not None else 0
        self._search = space and Search(
            space,
            {**experiment.trial_base(task, method), "seed": seeds[0]},
            larger=higher_is_better(self._monitor),
            seed=seeds[0],
            rival=method.kind == "rival",
        )

    @property
    def total(self) -> int:
        """Number of cells, those that cannot be run included."""
        return self._trials + len(self._seeds)

    def cells(self, records: Records) -> list[Cell]:
        """Give the cells that are known by some records; the next trial is known when those before it have ended."""
        trials: list[Cell] = []
        values: list[float | None] = []
        failed: list[str] = []
        while self._search and len(trials) < self._trials:
            config = self._search.config(values)
            trials.append(self._cell("trial", len(trials), config, values, failed))
            record = records.get(trials[-1].key)
            if record is None:
                return trials
            if record["status"] == "failed":
                failed.append(record["attempt"])
            values.append(self._value(record))
        chosen = self._experiment.base(self.task, self.method)
        if self._search:
            best = self._search.best(values)
            if best is None:
                return trials
            chosen = self._search.applied(best, chosen)
        return [
            *trials,
            *(self._cell("test", seed, {**chosen, "seed": seed}, values, failed) for seed in self._seeds),
        ]

    def _value(self, record: Record) -> float | None:
        if record["status"] == "failed":
            return None
        value = record["runs"][0]["val"]["argmax"][self._monitor]
        return None if value is None else float(value)

    @property
    def _monitor(self) -> str:
        return str(self.task.config["trainer"]["monitor"])

    def _cell(
        self,
        stage: Stage,
        number: int,
        config: dict[str, Any],
        values: Sequence[float | None],
        failed: Sequence[str],
    ) -> Cell:
        """Make a cell, whose key takes a while, once."""
        outcomes = (stage, number, tuple(values), tuple(failed))
        if outcomes not in self._made:
            start = config["model"]["init_from"] if self.method.kind == "network" else None
            weights = None if start is None else weights_sha256(start)
            named = (self.task.name, self.method.label, self.method.kind)
            self._made[outcomes] = Cell(*named, stage, number, config, weights, tuple(failed))
        return self._made[outcomes]


class Published:
    """A loss of the published experiment: one cell, in which all data sets and initialisations are trained together.

    Args:
        experiment: the whole.
        method: loss.
    """

    total = 1

    def __init__(self, experiment: Experiment, method: Method) -> None:
        first = experiment.tasks[0].config
        config = {
            "loss": method.label,
            "majorities": {task.name: task.config["majority"] for task in experiment.tasks},
            "seeds": list(experiment.seed_range),
            "epochs": first["epochs"],
            "samples": first["samples"],
        }
        self._cell = Cell("all data sets", method.label, "published", "test", experiment.seed, config)

    def cells(self, records: Records) -> list[Cell]:
        """Give the cell."""
        return [self._cell]


class Plan:
    """All pairs of a task and a method of an experiment, in its order, one for each split that options are chosen on.

    Asking it changes nothing: what it says follows from the experiment and the records.

    Args:
        experiment: what is compared.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.pairs: list[Pair] | list[Published]
        if experiment.protocol == "published":
            self.pairs = [Published(experiment, method) for method in experiment.methods]
        else:
            self.pairs = [
                Pair(experiment, task, method, seeds)
                for task in experiment.tasks
                for method in experiment.methods
                for seeds in experiment.tunings(task)
            ]

    @property
    def total(self) -> int:
        """Number of cells."""
        return sum(pair.total for pair in self.pairs)

    def rows(self, records: Records) -> list[Row]:
        """Give every cell that is known so far with its record."""
        return [Row(cell, records.get(cell.key)) for pair in self.pairs for cell in pair.cells(records)]
