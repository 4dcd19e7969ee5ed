"""An experiment: data sets, losses and rivals, the search for their options, seeds; what of it does not fit.

It is read from a YAML file of configs/compare, over which the command line's options are laid.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from matcard.comparison.results import metric
from matcard.comparison.rivals import rival_options
from matcard.data.card import card_names, load_card
from matcard.errors import InputError, concerning, nearest_names
from matcard.files import read_yaml, resource_dir
from matcard.options import AtLeastOne, Within, check_options
from matcard.study.space import check_space, make_space
from matcard.training.config import config_from_dict, config_to_dict, find_yaml, flatten, overlaid, parse_config
from matcard.training.fit import check_config
from matcard.work.trainings import DEVELOPMENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from matcard.comparison.options import CompareOptions
    from matcard.data.options import DataOptions, SplitOptions
    from matcard.study.space import Space

METRICS = ("macro_f1", "minority_recall", "balanced_accuracy", "average_precision")
TuneOn = Literal["each-seed", "first-seed", "development"]
FOLDER = "compare"
CATALOGUE = "losses"
_KEYS = (
    "title", "tasks", "training", "trial", "losses", "reference", "space", "trials", "seeds", "seed", "tune_on",
    "metrics", "notes",
)  # fmt: skip
_TASK_KEYS = ("data", "model", "optimizer", "trainer", "decision", "value")
"""Sections of a configuration that belong to a data set; losses and seeds are the experiment's."""
_METHOD_KEYS = ("loss", "rival", "space", "tasks", *_TASK_KEYS[1:])
_WITH_TEST = ("idx", "cifar")
"""Formats of files that have a training and a test part."""
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
    config: dict[str, Any]
    trials: Annotated[int, Within(whole=True)] = 0

    def __post_init__(self) -> None:
        check_options(self, "")

    def data(self) -> DataOptions:
        """Give the options of the data, with environment variables in their paths replaced.

        Raises:
            InputError: a variable that is not set, or a path that is not there.
        """
        options = config_from_dict(self.config).data
        for name in ("source", "test_source"):
            given = getattr(options, name)
            if not given or given in card_names():
                continue
            for variable in re.findall(r"\$\{?(\w+)\}?", given):
                if not os.environ.get(variable):
                    raise InputError(
                        f"task {self.name}: --data.{name} is {given}, and {variable} is not set. Needed: "
                        f"{self.needs or 'the file'}. Set {variable} to the folder, or name other tasks with --tasks"
                    )
            # In full, for workers that were started in other folders.
            path = Path(os.path.expandvars(given)).resolve()
            self.check_exists(path)
            found: dict[str, Any] = {name: str(path)}
            options = replace(options, **found)
        return options

    def check_exists(self, path: str | Path) -> None:
        """Refuse a path that is not there.

        Raises:
            InputError: what is needed, and what to do.
        """
        if not Path(path).exists():
            raise InputError(
                f"task {self.name}: {path} does not exist. Needed: {self.needs or 'the file'}. Put it there, or leave "
                "the task out by --tasks"
            )


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
            a fifth of the samples that stands in no test part; None: the first where test parts are alike, else each.
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
    seeds: AtLeastOne
    seed: Annotated[int, Within(whole=True)] = 0
    tune_on: TuneOn | None = None
    trial: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = METRICS
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(self, "")

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        """Those of short tables and of the figure: the first ones and the last."""
        return self.metrics if len(self.metrics) <= _HEADLINE else (*self.metrics[: _HEADLINE - 1], self.metrics[-1])

    def methods_of(self, task: Task) -> list[Method]:
        """Give the losses and rivals that are for a task."""
        return [method for method in self.methods if method.tasks is None or task.name in method.tasks]

    def tunes_on(self, task: Task) -> TuneOn:
        """Say on whose splits options are chosen."""
        return self.tune_on or ("first-seed" if has_fixed_test(task.config["data"]) else "each-seed")

    def leaks(self, task: Task) -> bool:
        """Tell whether samples that options were chosen on stand in the test parts of other seeds."""
        tuned = task.trials and self.seeds > 1 and self.tunes_on(task) == "first-seed"
        return bool(tuned) and not has_fixed_test(task.config["data"])

    def tunings(self, task: Task) -> list[range]:
        """Divide the seeds: those of each part have the options in common that are chosen by one search."""
        seeds = range(self.seed, self.seed + self.seeds)
        return [range(seed, seed + 1) for seed in seeds] if self.tunes_on(task) == "each-seed" else [seeds]

    def base(self, task: Task, method: Method) -> dict[str, Any]:
        """Give the configuration of a method on a task before any search, resolved and nested.

        Raises:
            InputError: options that do not exist or go together.
        """
        if method.is_rival:
            rival = dataclasses.asdict(rival_options(method.config["rival"]))
            kept = {part: task.config[part] for part in ("data", "decision")}
            return {**kept, "monitor": task.config["trainer"]["monitor"], "rival": rival, "seed": self.seed}
        return resolved(overlaid({**task.config, "loss": {}, "seed": self.seed}, method.config))

    def trial_base(self, task: Task, method: Method) -> dict[str, Any]:
        """Give what the choices of a trial are laid over."""
        base = self.base(task, method)
        return base if method.is_rival else resolved(overlaid(base, self.trial))

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
            data = task.data()
            if self.tunes_on(task) == "development" and (why := _no_development(task, data.split)):
                raise InputError(f"task {task.name}, tune_on: development {why}")
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


def resolved(config: dict[str, Any]) -> dict[str, Any]:
    """Give the configuration of a network with every option; that of a rival has them.

    Raises:
        InputError: options that do not exist or go together.
    """
    return config if "rival" in config else config_to_dict(config_from_dict(config))


def _no_development(task: Task, split: SplitOptions) -> str | None:
    """Say why no part can be set aside for the choice of options, if so."""
    if has_fixed_test(task.config["data"]):
        return "is for splits that seeds draw anew; this one's test part is the same for all. Leave tune_on out"
    if split.folds is not None:
        return "is for parts by --data.split.fractions, not by --data.split.folds. Leave the folds out, or tune_on"
    if split.fractions[0] <= DEVELOPMENT:
        given = f"--data.split.fractions gives that {split.fractions[0]:.0%}. Give it more"
        return f"takes {DEVELOPMENT:.0%} of the samples, all for the training part, and {given}"
    return None


def _check_network(base: Mapping[str, Any], data: DataOptions, task: Task) -> None:
    if base["model"]["init_from"] is not None:
        task.check_exists(base["model"]["init_from"])
    if base["trainer"]["devices"] != 1:
        raise InputError(
            f"--trainer.devices is {base['trainer']['devices']}: a cell trains on one; give --jobs to train several "
            "cells"
        )
    check_config(replace(config_from_dict(base), data=data))


def has_fixed_test(data: Mapping[str, Any]) -> bool:
    """Tell whether the options of data say that the test part is the same for every seed.

    It is not looked for in files: of a file that has one, `split: {kind: given}` says so.
    """
    split = data["split"]
    if split["kind"] in ("given", "matbench", "element") or data["test_source"] is not None:
        return True
    if split["folds"] is not None or data["source"] not in card_names():
        return False
    card = load_card(data["source"])
    return card.format in _WITH_TEST or any(file.part in ("test", "validation") for file in card.urls)


def read_experiment(options: CompareOptions) -> Experiment:
    """Read the experiment that the options name and lay them over it; `Experiment.check` tells what does not fit.

    Raises:
        InputError: no such file, task or loss, or an entry that is not understood.
    """
    path = find_yaml("config", options.config, FOLDER)
    values = _mapping(read_yaml(path), f"{path}", _KEYS)
    metrics = values.get("metrics") or METRICS
    if isinstance(metrics, str):
        raise InputError(f"{path}, metrics: expected a list such as [{metrics}], found {metrics!r}")
    entries = _mapping(values.get("tasks"), f"{path}, tasks")
    training = _mapping(values.get("training") or {}, f"{path}, training", _TASK_KEYS)
    tasks = []
    for name in _chosen("tasks", options.tasks, entries, entries):
        where = f"{path}, task {name}"
        own = _mapping(entries[name], where, ("needs", "config", "trials", *_TASK_KEYS))
        given = (options.trials, own.pop("trials", None), values.get("trials", "missing"))
        with concerning(where):
            tasks.append(_task(name, own, training, next(trials for trials in given if trials is not None)))
    methods = _methods(values.get("losses"), options.losses, entries, f"{path}")
    labels = [method.label for method in methods]
    for part, names in (("tasks", [task.name for task in tasks]), ("losses", labels)):
        if not names:
            raise InputError(f"{path}, {part}: there are none")
        if commas := [name for name in names if "," in name]:
            raise InputError(f"{path}, {part}: --{part} could not name {commas[0]!r}; write it without a comma")
    reference = options.reference or values.get("reference") or labels[0]
    if reference not in labels:
        where = f"--reference {reference}" if options.reference else f"{path}, reference: {reference!r}"
        raise InputError(
            f"{where}: it is not among the losses; {nearest_names(reference, labels)}. Give --reference, or add it to "
            "--losses"
        )
    with concerning(f"{path}"):
        return Experiment(
            name=path.stem,
            title=str(values.get("title", path.stem)),
            tasks=tuple(tasks),
            methods=methods,
            reference=reference,
            seeds=values.get("seeds", "missing") if options.seeds is None else options.seeds,
            seed=values.get("seed", 0),
            tune_on=values.get("tune_on"),
            trial=_mapping(values.get("trial") or {}, "trial"),
            space=_mapping(values.get("space") or {}, "space"),
            metrics=tuple(metrics),
            notes=tuple(map(str, values.get("notes") or ())),
        )


def catalogue() -> dict[str, Any]:
    """Give the shipped losses and rivals, each with what is searched of it."""
    path = resource_dir("configs") / FOLDER / f"{CATALOGUE}.yaml"
    return _mapping(read_yaml(path), f"{path}")


def _task(name: str, entry: dict[str, Any], training: Mapping[str, Any], trials: int) -> Task:
    needs, config = str(entry.pop("needs", "")), entry.pop("config", None)
    argv = ["--config", str(config)] if config else []
    options = parse_config(argv, prog="", description="", over=[training, entry])
    return Task(name, needs, config_to_dict(options), trials)


def _methods(entries: Any, wanted: list[str] | None, tasks: Collection[str], where: str) -> tuple[Method, ...]:
    shipped = catalogue()
    if isinstance(entries, list):
        if unknown := [label for label in map(str, entries) if label not in shipped]:
            raise InputError(
                f"{where}, losses: {unknown[0]!r} is not in {CATALOGUE}.yaml; {nearest_names(unknown[0], shipped)}"
            )
        own = {str(label): shipped[str(label)] for label in entries}
    elif isinstance(entries, dict) or (entries is None and wanted):
        given = (entries or {}).items()
        own = {str(label): shipped.get(str(label)) if entry is None else entry for label, entry in given}
    else:
        raise InputError(
            f"{where}, losses: expected a list of names out of {CATALOGUE}.yaml, such as [ce, spread_reweight], or a "
            f"mapping of own ones, found {entries!r:.80}"
        )
    known = {**shipped, **own}
    chosen = _chosen("losses", wanted, known, own)
    return tuple(_method(label, known[label], tasks, f"{where}, {label}") for label in chosen)


def _method(label: str, entry: Any, tasks: Collection[str], where: str) -> Method:
    config = _mapping(entry, where, _METHOD_KEYS)
    space = _mapping(config.pop("space", None) or {}, f"{where}, space")
    only = config.pop("tasks", None)
    if only is not None and not (isinstance(only, list) and set(only) <= set(tasks)):
        raise InputError(f"{where}, tasks: expected a list of names out of {', '.join(tasks)}, found {only!r:.80}")
    if ("loss" in config) == ("rival" in config):
        raise InputError(f"{where}: expected a section loss or rival, one of them")
    if "rival" in config:
        _mapping(config["rival"], f"{where}, rival")
        if others := sorted(set(config) - {"rival"}):
            raise InputError(f"{where}: a rival has no section {others[0]!r}; leave it out")
    return Method(label, config, space, None if only is None else tuple(only))


def _chosen(option: str, wanted: list[str] | None, known: Mapping[str, Any], default: Collection[str]) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise InputError(f"--{option}: {name!r} is unknown; {nearest_names(name, known)}")
    return list(wanted or default)


def _mapping(value: Any, where: str, known: Collection[str] | None = None) -> dict[str, Any]:
    """Give a mapping, whose entries are among those known, if these are given."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a mapping, found {value!r:.80}")
    for key in value:
        if known is not None and key not in known:
            raise InputError(f"{where}: unknown entry {key!r}; {nearest_names(str(key), sorted(known))}")
    return {str(key): item for key, item in value.items()}
