"""An experiment: data sets, losses and rivals, the search for their options, seeds; what of it does not fit."""

from __future__ import annotations

import dataclasses
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from matcard.comparison.results import metric
from matcard.comparison.rivals import rival_options
from matcard.data.card import card_names, load_card
from matcard.errors import InputError, nearest_names
from matcard.study.space import make_space
from matcard.study.space_check import check_space
from matcard.training.config import config_from_dict, config_to_dict, flatten, overlaid
from matcard.training.fit import check_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matcard.study.space import Space

METRICS = ("macro_f1", "minority_recall", "balanced_accuracy", "average_precision")
TuneOn = Literal["each-seed", "first-seed", "development"]
_HEADLINE = 4
"""Metrics that a short table or a figure has room for."""


@dataclass(frozen=True)
class Task:
    """A data set with the training on it.

    Attributes:
        name: what it is called in tables.
        needs: what it cannot be run without, in words; empty where matcard makes or downloads the data.
        config: resolved configuration, nested; sources may name environment variables as ${NAME}.
        trials: of each method, on each split that options are chosen on.
    """

    name: str
    needs: str
    config: Mapping[str, Any]
    trials: int = 0


@dataclass(frozen=True)
class Method:
    """A loss, or a rival that is no network.

    Attributes:
        label: what it is called in tables.
        config: laid over a task's configuration: a section `loss`, and others if need be; or a section `rival`.
        space: what is searched of its own, as the files of configs/tune have it.
        tasks: names of the data sets that it is for; None where it is for all.
    """

    label: str
    config: Mapping[str, Any]
    space: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None

    @property
    def is_rival(self) -> bool:
        """Whether it is no network."""
        return "rival" in self.config


@dataclass(frozen=True)
class Experiment:
    """What is compared, and how.

    Attributes:
        name: name of the file.
        title: a line about it.
        tasks: data sets.
        methods: losses and rivals.
        reference: label of the one that the others are compared with.
        seeds: runs of each of them on each data set.
        seed: the first.
        tune_on: whether options are chosen on each seed's split, for that seed, or for all seeds: on the first's, or on
            a development part that stands in no test part; None leaves it to the data: the first where the test part is
            given, so that none of it can be seen, else each.
        trial: laid over the configuration of a trial.
        space: what is searched of every network, beside its loss's own options.
        metrics: of the tables.
        notes: said below the tables.
    """

    name: str
    title: str
    tasks: tuple[Task, ...]
    methods: tuple[Method, ...]
    reference: str
    seeds: int
    seed: int = 0
    tune_on: TuneOn | None = None
    trial: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = METRICS
    notes: tuple[str, ...] = ()

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        """Those of short tables and of the figure: the first ones and the last."""
        return self.metrics if len(self.metrics) <= _HEADLINE else (*self.metrics[: _HEADLINE - 1], self.metrics[-1])

    @property
    def seed_range(self) -> range:
        """The seeds of the runs."""
        return range(self.seed, self.seed + self.seeds)

    def methods_of(self, task: Task) -> list[Method]:
        """Give the losses and rivals that are for a task."""
        return [method for method in self.methods if method.tasks is None or task.name in method.tasks]

    def tunes_on(self, task: Task) -> TuneOn:
        """Say on whose splits options are chosen."""
        return self.tune_on or ("first-seed" if has_given_test(task.config["data"]) else "each-seed")

    def leaks(self, task: Task) -> bool:
        """Tell whether samples that options were chosen on stand in the test parts of other seeds."""
        tuned = task.trials and self.seeds > 1 and self.tunes_on(task) == "first-seed"
        return bool(tuned) and not has_given_test(task.config["data"])

    def tunings(self, task: Task) -> list[range]:
        """Divide the seeds: those of each part have the options in common that are chosen by one search."""
        if self.tunes_on(task) != "each-seed":
            return [self.seed_range]
        return [range(seed, seed + 1) for seed in self.seed_range]

    def base(self, task: Task, method: Method) -> dict[str, Any]:
        """Give the configuration of a method on a task before any search, resolved and nested.

        Raises:
            InputError: options that do not exist or go together.
        """
        if method.is_rival:
            rival = dataclasses.asdict(rival_options(method.config["rival"]))
            kept = {part: task.config[part] for part in ("data", "decision")}
            return {**kept, "monitor": task.config["trainer"]["monitor"], "rival": rival, "seed": self.seed}
        values = overlaid({**task.config, "loss": {}, "seed": self.seed}, method.config)
        return config_to_dict(config_from_dict(values))

    def trial_base(self, task: Task, method: Method) -> dict[str, Any]:
        """Give what the choices of a trial are laid over."""
        base = self.base(task, method)
        return base if "rival" in base else config_to_dict(config_from_dict(overlaid(base, self.trial)))

    def searched(self, task: Task, method: Method) -> dict[str, Any]:
        """Give the entries of what is searched of a method on a task, where anything is."""
        return {**({} if method.is_rival else self.space), **method.space} if task.trials else {}

    def space_of(self, task: Task, method: Method) -> Space | None:
        """Give what is searched of a method on a task; None where there is nothing."""
        entries = self.searched(task, method)
        return make_space(entries, f"{self.name}, {method.label}, space") if entries else None

    def check(self) -> None:
        """Tell before any training what cannot be run.

        Raises:
            InputError: options or a space that do not fit, a source or a network to start from that is not there.
        """
        with concerning(f"{self.name}, metrics"):
            for name in self.metrics:
                metric(name)
        for task in self.tasks:
            data = with_sources(task.config["data"], task)
            if self.tunes_on(task) == "development":
                _check_development(data["split"], task)
            for method in self.methods_of(task):
                with concerning(f"{self.name}, {method.label} on {task.name}"):
                    base = self.trial_base(task, method)
                    if not method.is_rival:
                        _check_network(base, data, task)
                if (space := self.space_of(task, method)) is None:
                    continue
                where, options = f"{self.name}, {method.label}, space", flatten(base)
                if not method.is_rival:
                    check_space(space, base, where)
                elif unknown := [each.name for each in space.parameters if each.name not in options]:
                    raise InputError(f"{where}: unknown option {unknown[0]!r}; {nearest_names(unknown[0], options)}")


@contextmanager
def concerning(what: str) -> Iterator[None]:
    """Say what a message is about.

    Raises:
        InputError: the block's, with this before it.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


def _check_network(base: Mapping[str, Any], data: Mapping[str, Any], task: Task) -> None:
    if base["model"]["init_from"] is not None:
        _check_exists(base["model"]["init_from"], task)
    if base["trainer"]["devices"] != 1:
        raise InputError(
            f"--trainer.devices is {base['trainer']['devices']}: a cell trains on one; give --jobs to train several "
            "cells"
        )
    check_config(config_from_dict({**base, "data": data}))


def _check_development(split: Mapping[str, Any], task: Task) -> None:
    if has_given_test(task.config["data"]) or split["folds"] is not None or split["kind"] == "element":
        raise InputError(
            f"task {task.name}, tune_on: development is for splits that seeds draw anew, and the test part of these "
            "data is given; leave tune_on out, or choose another --data.split.kind"
        )


def has_given_test(data: Mapping[str, Any]) -> bool:
    """Tell whether the options of data say that they come with a test part, which is then the same for every seed.

    It is not looked for in files: of a file that has one, `split: {kind: given}` says so.
    """
    split = data["split"]
    if split["kind"] in ("given", "matbench") or data["test_source"] is not None:
        return True
    if split["folds"] is not None or data["source"] not in card_names():
        return False
    card = load_card(data["source"])
    return card.format in _WITH_TEST or any(file.part in ("test", "validation") for file in card.urls)


_WITH_TEST = ("idx", "cifar")
"""Formats of files that have a training and a test part."""


def with_sources(data: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Give the data section of a task with environment variables in its paths replaced.

    Raises:
        InputError: a variable that is not set, or a path that is not there.
    """
    values = dict(data)
    for name in ("source", "test_source"):
        given = values.get(name)
        if not given or given in card_names():
            continue
        for variable in re.findall(r"\$\{?(\w+)\}?", given):
            if not os.environ.get(variable):
                raise InputError(
                    f"task {task.name}: --data.{name} is {given}, and {variable} is not set. Needed: "
                    f"{task.needs or 'the file'}. Set {variable} to the folder, or leave the task out by --tasks"
                )
        # In full, for workers that were started in other folders.
        values[name] = str(Path(os.path.expandvars(given)).resolve())
        _check_exists(values[name], task)
    return values


def _check_exists(path: str, task: Task) -> None:
    if not Path(path).exists():
        raise InputError(
            f"task {task.name}: {path} does not exist. Needed: {task.needs or 'the file'}. Put it there, or leave the "
            "task out by --tasks"
        )
