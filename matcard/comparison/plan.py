"""Which cells an experiment has, which of them can be run now, and how far it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matcard.comparison.cells import Cell
from matcard.evaluation.metrics import higher_is_better

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matcard.comparison.cells import CellStore, Stage
    from matcard.comparison.experiment import Experiment, Method, Task
    from matcard.comparison.search import Search

    Record = dict[str, Any]


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
        store: where the cells are.
    """

    def __init__(self, experiment: Experiment, task: Task, method: Method, seeds: range, store: CellStore) -> None:
        self.task = task
        self.method = method
        self._seeds = seeds
        self._experiment = experiment
        self._store = store
        self._trials: list[Cell] = []
        self._tests: list[Cell] = []
        self._failed: list[str] = []
        self._search = self._begun()

    @property
    def total(self) -> int:
        """Number of cells, those that cannot be run included."""
        return (self._experiment.trials_of(self.task) if self._search is not None else 0) + len(self._seeds)

    def rows(self) -> list[Row]:
        """Give the cells known so far with their records; the next trial is known when those before it have ended."""
        return [Row(cell, self._store.read(cell)) for cell in self._cells()]

    def _cells(self) -> list[Cell]:
        if not self._tests:
            self._advance()
            self._tests = list(self._made_tests())
        return [*self._trials, *self._tests]

    def _advance(self) -> None:
        """Tell the search of every trial that has ended."""
        while self._search is not None and (config := self._search.config) is not None:
            if len(self._trials) == self._search.number:
                self._trials.append(self._cell("trial", self._search.number, config))
            record = self._store.read(self._trials[-1])
            if record is None or (record["status"] == "failed" and self._store.to_be_retried(record)):
                return
            if record["status"] == "failed":
                self._failed.append(record["attempt"])
            self._search.tell(self._value(record))

    def _value(self, record: Record) -> float | None:
        if record["status"] == "failed":
            return None
        value = record["runs"][0]["val"]["argmax"][self._monitor]
        return None if value is None else float(value)

    @property
    def _monitor(self) -> str:
        return str(self.task.config["trainer"]["monitor"])

    def _made_tests(self) -> Iterator[Cell]:
        """Give the cells of the seeds, once the options are chosen."""
        best = None if self._search is None else self._search.best()
        if self._search is not None and (self._search.config is not None or best is None):
            return
        config = self._experiment.base(self.task, self.method)
        if self._search is not None and best is not None:
            config = self._search.applied(best, config)
        for seed in self._seeds:
            yield self._cell("test", seed, {**config, "seed": seed})

    def _cell(self, stage: Stage, number: int, config: dict[str, Any]) -> Cell:
        start = config["model"]["init_from"] if self.method.kind == "network" else None
        weights = None if start is None else weights_sha256(start)
        named = (self.task.name, self.method.label, self.method.kind)
        return Cell(*named, stage, number, config, weights, tuple(self._failed))

    def _begun(self) -> Search | None:
        from matcard.comparison.search import Search

        space = self._experiment.space_of(self.task, self.method)
        if space is None:
            return None
        return Search(
            space,
            {**self._experiment.trial_base(self.task, self.method), "seed": self._seeds[0]},
            trials=self._experiment.trials_of(self.task),
            larger=higher_is_better(self._monitor),
            seed=self._seeds[0],
            rival=self.method.kind == "rival",
        )


class Published:
    """A loss of the published experiment: one cell, in which all data sets and initialisations are trained together.

    Args:
        experiment: the whole.
        method: loss.
        store: where the cells are.
    """

    total = 1

    def __init__(self, experiment: Experiment, method: Method, store: CellStore) -> None:
        first = experiment.tasks[0].config
        config = {
            "loss": method.label,
            "majorities": {task.name: task.config["majority"] for task in experiment.tasks},
            "seeds": list(experiment.seed_range),
            "epochs": first["epochs"],
            "samples": first["samples"],
        }
        self._cell = Cell("all data sets", method.label, "published", "test", experiment.seed, config)
        self._store = store

    def rows(self) -> list[Row]:
        """Give the cell with its record."""
        return [Row(self._cell, self._store.read(self._cell))]


class Plan:
    """All pairs of a task and a method of an experiment, in its order, one for each split that options are chosen on.

    Args:
        experiment: what is compared.
        store: where the cells are.
    """

    def __init__(self, experiment: Experiment, store: CellStore) -> None:
        self.experiment = experiment
        self.store = store
        self.pairs: list[Pair] | list[Published]
        if experiment.protocol == "published":
            self.pairs = [Published(experiment, method, store) for method in experiment.methods]
        else:
            self.pairs = [
                Pair(experiment, task, method, seeds, store)
                for task in experiment.tasks
                for method in experiment.methods
                for seeds in experiment.tunings(task)
            ]
        self.tasks = {task.name: task for task in experiment.tasks}

    @property
    def total(self) -> int:
        """Number of cells."""
        return sum(pair.total for pair in self.pairs)

    def rows(self) -> list[Row]:
        """Give every cell that is known so far with its record."""
        return [row for pair in self.pairs for row in pair.rows()]

    def ready(self, rows: list[Row]) -> list[Cell]:
        """Give those of the rows that can be run now."""
        return [
            row.cell
            for row in rows
            if row.record is None or (row.status == "failed" and self.store.to_be_retried(row.record))
        ]
