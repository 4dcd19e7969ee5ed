"""Experiments as YAML files of configs/compare, and what the command line changes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from matcard.comparison.experiment import METRICS, Experiment, Method, Task, TuneOn
from matcard.errors import InputError, nearest_names
from matcard.files import read_yaml
from matcard.resources import resource_dir
from matcard.training.config import config_to_dict, find_yaml, parse_beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from matcard.comparison.options import CompareOptions

FOLDER = "compare"
CATALOGUE = "losses"
_KEYS = {
    "title", "protocol", "tasks", "training", "trial", "losses", "reference", "space", "trials", "seeds", "seed",
    "tune_on", "metrics", "notes",
}  # fmt: skip
_TASK_KEYS = {"data", "model", "value", "optimizer", "trainer", "decision"}
"""Sections of a configuration that belong to a data set; losses and seeds are the experiment's."""
_METHOD_KEYS = {"loss", "rival", "model", "value", "optimizer", "trainer", "decision", "space"}


@dataclass(frozen=True)
class _Nothing:
    """A command's own options, of which reading a configuration has none."""


def read_experiment(options: CompareOptions) -> Experiment:
    """Read the experiment that the options name and lay them over it; `Experiment.check` tells what does not fit.

    Raises:
        InputError: no such file, task or loss, or an entry that is not understood.
    """
    path = find_yaml("config", options.config, FOLDER)
    values = _mapping(read_yaml(path), f"{path}")
    _known(values, _KEYS, f"{path}")
    protocol = values.get("protocol", "matcard")
    if protocol not in ("matcard", "published"):
        raise InputError(f"{path}, protocol: expected matcard or published, found {protocol!r}")
    tune_on = values.get("tune_on")
    if tune_on not in (None, *get_args(TuneOn)):
        raise InputError(f"{path}, tune_on: expected {' or '.join(get_args(TuneOn))}, found {tune_on!r}")
    metrics = values.get("metrics") or METRICS
    if isinstance(metrics, str):
        raise InputError(f"{path}, metrics: expected a list such as [{metrics}], found {metrics!r}")
    tasks = _mapping(values.get("tasks"), f"{path}, tasks")
    if not tasks:
        raise InputError(f"{path}, tasks: there are none; expected a mapping of names to configurations")
    chosen = _chosen("tasks", options.tasks, tasks)
    training = _mapping(values.get("training") or {}, f"{path}, training")
    _known(training, {"epochs", "samples"} if protocol == "published" else _TASK_KEYS, f"{path}, training")
    if protocol == "published":
        made = tuple(
            Task(name, "", _published(_mapping(tasks[name], f"{path}, {name}"), training, path)) for name in chosen
        )
        methods = tuple(Method(label, {}) for label in options.losses or values.get("losses") or [])
    else:
        made = tuple(_task(name, _mapping(tasks[name], f"{path}, {name}"), training, path) for name in chosen)
        if options.trials is not None:
            made = tuple(replace(task, trials=None) for task in made)
        methods = _methods(values.get("losses"), options.losses, path)
    labels = [method.label for method in methods]
    if not labels:
        raise InputError(f"{path}, losses: there are none")
    reference = options.reference or values.get("reference") or labels[0]
    if reference not in labels:
        where = f"--reference {reference}" if options.reference else f"{path}, reference: {reference!r}"
        raise InputError(
            f"{where}: it is not among the losses; {nearest_names(reference, labels)}. Give --reference, or add it to "
            "--losses"
        )
    return Experiment(
        name=path.stem,
        title=str(values.get("title", path.stem)),
        protocol=protocol,
        tasks=made,
        methods=methods,
        reference=reference,
        trials=0 if protocol == "published" else _number(options.trials, values, "trials", 0, path),
        seeds=_number(options.seeds, values, "seeds", 1, path),
        seed=_number(None, {"seed": 0, **values}, "seed", 0, path),
        tune_on=tune_on,
        trial=_mapping(values.get("trial") or {}, f"{path}, trial"),
        space=_mapping(values.get("space") or {}, f"{path}, space"),
        metrics=tuple(metrics),
        notes=tuple(map(str, values.get("notes") or ())),
    )


def catalogue() -> dict[str, Any]:
    """Give the shipped losses and rivals, each with what is searched of it."""
    path = resource_dir("configs") / FOLDER / f"{CATALOGUE}.yaml"
    return _mapping(read_yaml(path), f"{path}")


def _task(name: str, entry: dict[str, Any], training: Mapping[str, Any], path: Path) -> Task:
    given = dict(entry)
    needs = str(given.pop("needs", ""))
    config = given.pop("config", None)
    trials = None if given.get("trials") is None else _number(None, given, "trials", 0, f"{path}, task {name}")
    given.pop("trials", None)
    if "," in name:
        raise InputError(f"{path}, task {name!r}: --tasks could not name it; write it without a comma")
    _known(given, _TASK_KEYS, f"{path}, task {name}")
    argv = ["--config", str(config)] if config else []
    try:
        resolved, _ = parse_beside(argv, _Nothing(), prog="", description="", over=[given, training])
    except InputError as error:
        raise InputError(f"{path}, task {name}: {error}") from error
    return Task(name, needs, config_to_dict(resolved), trials)


def _published(entry: dict[str, Any], training: Mapping[str, Any], path: Path) -> dict[str, Any]:
    _known(entry, {"majority"}, f"{path}, tasks")
    if not isinstance(entry.get("majority"), float) or not 0 < entry["majority"] < 1:
        raise InputError(f"{path}, tasks: majority is {entry.get('majority')!r}, expected a share between 0 and 1")
    return {"epochs": training.get("epochs", 100), "samples": training.get("samples", 10_000), **entry}


def _methods(entries: Any, wanted: list[str] | None, path: Path) -> tuple[Method, ...]:
    shipped = catalogue()
    if isinstance(entries, list):
        own = {str(label): shipped.get(str(label)) for label in entries}
        for label, entry in own.items():
            if entry is None:
                raise InputError(
                    f"{path}, losses: {label!r} is not in {CATALOGUE}.yaml; {nearest_names(label, shipped)}"
                )
    elif isinstance(entries, dict):
        own = _mapping(entries, f"{path}, losses")
    else:
        raise InputError(
            f"{path}, losses: expected a list of names out of {CATALOGUE}.yaml, such as [ce, spread_reweight], or a "
            f"mapping of own ones, found {entries!r:.80}"
        )
    known = {**shipped, **own}
    if commas := [label for label in own if "," in label]:
        raise InputError(f"{path}, losses: --losses could not name {commas[0]!r}; write it without a comma")
    return tuple(
        _method(label, _mapping(known[label], f"{path}, {label}"), path)
        for label in _chosen("losses", wanted, known, default=own)
    )


def _method(label: str, entry: dict[str, Any], path: Path) -> Method:
    _known(entry, _METHOD_KEYS, f"{path}, {label}")
    if ("loss" in entry) == ("rival" in entry):
        raise InputError(f"{path}, {label}: expected a section loss or rival, one of them")
    if "rival" in entry:
        _mapping(entry["rival"], f"{path}, {label}, rival")
    config = {name: value for name, value in entry.items() if name != "space"}
    return Method(label, config, _mapping(entry.get("space") or {}, f"{path}, {label}, space"))


def _chosen(
    option: str, wanted: list[str] | None, known: Mapping[str, Any], default: Iterable[str] | None = None
) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise InputError(f"--{option}: {name!r} is unknown; {nearest_names(name, known)}")
    return list(wanted or (known if default is None else default))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a mapping, found {value!r:.80}")
    return {str(key): item for key, item in value.items()}


def _known(values: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise InputError(f"{where}: unknown entry {key!r}; {nearest_names(key, sorted(known))}")


def _number(given: int | None, values: Mapping[str, Any], name: str, least: int, path: Path | str) -> int:
    value = values.get(name) if given is None else given
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{path}, {name}: expected a whole number of {least} or more, found {value!r}")
    return value
