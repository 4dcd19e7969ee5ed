"""Which cells an experiment has, and which of them can be run now: all by its records alone."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from matcard.comparison.cells import Cell
from matcard.comparison.experiment import resolved
from matcard.evaluation.metrics import higher_is_better

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matcard.comparison.experiment import Experiment, Method, Task
    from matcard.study.space import Space
    from matcard.work.attempt import Record

    Records = Mapping[str, Record]
    """Records of the cells that have ended, by key."""
    Values = Sequence[float | None]
    """Outcomes of trials; None of those that failed."""

STARTUP = 3
"""Trials that are not guided by the outcomes of others: the options as they are, and two drawn at random."""


class Search:
    """Chooses trials by a tree-structured Parzen estimator; the first has the options as they are.

    The next trial follows from the outcomes of those before it and from nothing else, so that whoever comes next, after
    a kill, chooses the same one; and more trials are the same ones with others after them.

    Args:
        space: what is searched.
        base: resolved configuration of a trial, nested, that choices are laid over.
        larger: whether a larger value is better.
        seed: of the choices.
    """

    def __init__(self, space: Space, base: Mapping[str, Any], *, larger: bool, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = space
        self._base = base
        self._larger = larger
        self._seed = seed
        self._begin()

    def config(self, values: Values) -> dict[str, Any]:
        """Give the resolved configuration of the trial that comes after some with these outcomes."""
        told = [None if value is None or not math.isfinite(value) else value for value in values]
        if self._told != told[: len(self._told)]:
            self._begin()
        for value in told[len(self._told) :]:
            # What was asked is told; the same outcomes always lead to the same question.
            if value is None:
                self._study.tell(self._trial, state=TrialState.FAIL)
            else:
                self._study.tell(self._trial, value)
            self._told.append(value)
            self._ask()
        return self._config

    def best(self, values: Values) -> dict[str, Any] | None:
        """Give the values of the best trial by parameter, of those with these outcomes; None where all failed."""
        self.config(values)
        done = [trial for trial in self._study.trials[: len(values)] if trial.state == TrialState.COMPLETE]
        if not done:
            return None
        best = max if self._larger else min
        return dict(best(done, key=lambda trial: float(trial.value or 0.0)).params)

    def _begin(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = TPESampler(n_startup_trials=STARTUP, multivariate=True, group=True, seed=self._seed)
        self._study = optuna.create_study(sampler=sampler, direction="maximize" if self._larger else "minimize")
        if (defaults := self.space.point_of(self._base)) is not None:
            self._study.enqueue_trial(defaults)
        self._told: list[float | None] = []
        self._ask()

    def _ask(self) -> None:
        self._trial = self._study.ask()
        self._config = resolved(self.space.suggest(self._trial, self._base))


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
        seeds: that are tested; the trials are made on the split of the first, or judged by the development part.
    """

    def __init__(self, experiment: Experiment, task: Task, method: Method, seeds: range) -> None:
        self.task = task
        self.method = method
        self._seeds = seeds
        self.base = experiment.base(task, method)
        self.development = experiment.tunes_on(task) == "development"
        self._monitor = str(task.config["trainer"]["monitor"])
        space = experiment.space_of(task, method)
        self._trials = task.trials if space else 0
        self._search = space and Search(
            space,
            {**experiment.trial_base(task, method), "seed": seeds[0]},
            larger=higher_is_better(self._monitor),
            seed=seeds[0],
        )
        # A cell's configuration and key take a while.
        self._trial = cache(self._make_trial)
        self._tests = cache(self._make_tests)

    @property
    def total(self) -> int:
        """Number of cells, those that cannot be run included."""
        return self._trials + len(self._seeds)

    def cells(self, records: Records) -> list[Cell]:
        """Give the cells that are known by some records; the next trial is known when those before it have ended."""
        trials: list[Cell] = []
        values: list[float | None] = []
        while len(trials) < self._trials:
            trials.append(self._trial(tuple(values)))
            record = records.get(trials[-1].key)
            if record is None:
                return trials
            validated = record.get("run", {}).get("val", {"argmax": {}})
            values.append(validated["argmax"].get(self._monitor))
        return [*trials, *self._tests(tuple(values))]

    def _make_trial(self, values: tuple[float | None, ...]) -> Cell:
        assert self._search, "something is searched"
        return self._cell("trial", len(values), self._search.config(values))

    def _make_tests(self, values: tuple[float | None, ...]) -> list[Cell]:
        chosen = self.base
        if self._search:
            if (best := self._search.best(values)) is None:
                return []
            chosen = resolved(self._search.space.apply(best, chosen))
        return [self._cell("test", seed, {**chosen, "seed": seed}) for seed in self._seeds]

    def _cell(self, stage: Any, number: int, config: dict[str, Any]) -> Cell:
        return Cell(self.task.name, self.method.label, stage, number, config, self.development)


class Plan:
    """All pairs of a task and a method of an experiment, in its order, one for each split that options are chosen on.

    Asking it changes nothing: what it says follows from the experiment and the records.

    Args:
        experiment: what is compared.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.pairs = [
            Pair(experiment, task, method, seeds)
            for task in experiment.tasks
            for method in experiment.methods_of(task)
            for seeds in experiment.tunings(task)
        ]

    @property
    def total(self) -> int:
        """Number of cells."""
        return sum(pair.total for pair in self.pairs)

    def rows(self, records: Records) -> list[Row]:
        """Give every cell that is known so far with its record."""
        return [Row(cell, records.get(cell.key)) for pair in self.pairs for cell in pair.cells(records)]

    def done(self, records: Records) -> int:
        """Count the different cells that have ended."""
        return len({row.cell.key for row in self.rows(records) if row.record is not None})

    def to_be_made_again(self, records: Records) -> set[str]:
        """Give the keys of all cells that have failed and would be of use if they did not.

        A loss that stopped being finite would do so again; and a trial that comes to an end after others were chosen
        without it would change the choice of these.
        """
        failed, kept = set(), set()
        for pair in self.pairs:
            followed = False
            for cell in reversed(pair.cells(records)):
                record = records.get(cell.key) or {}
                if record.get("status") == "failed":
                    failed.add(cell.key)
                    if record.get("diverged") or (followed and cell.stage == "trial"):
                        kept.add(cell.key)
                followed |= record.get("status") == "finished"
        return failed - kept
