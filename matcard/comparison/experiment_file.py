"""Experiments as YAML files of configs/compare, and what the command line changes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from matcard.comparison.experiment import METRICS, Experiment, Method, Task, TuneOn
from matcard.errors import InputError, nearest_names
from matcard.files import read_yaml, resource_dir
from matcard.training.config import config_to_dict, find_yaml, parse_config

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from matcard.comparison.options import CompareOptions

FOLDER = "compare"
CATALOGUE = "losses"
_KEYS = (
    "title", "tasks", "training", "trial", "losses", "reference", "space", "trials", "seeds", "seed", "tune_on",
    "metrics", "notes",
)  # fmt: skip
_TASK_KEYS = ("data", "model", "optimizer", "trainer", "decision", "value")
"""Sections of a configuration that belong to a data set; losses and seeds are the experiment's."""
_METHOD_KEYS = ("loss", "rival", "space", "tasks", *_TASK_KEYS[1:])


def read_experiment(options: CompareOptions) -> Experiment:
    """Read the experiment that the options name and lay them over it; `Experiment.check` tells what does not fit.

    Raises:
        InputError: no such file, task or loss, or an entry that is not understood.
    """
    path = find_yaml("config", options.config, FOLDER)
    values = _mapping(read_yaml(path), f"{path}", _KEYS)
    if (tune_on := values.get("tune_on")) not in (None, *get_args(TuneOn)):
        raise InputError(f"{path}, tune_on: expected {' or '.join(get_args(TuneOn))}, found {tune_on!r}")
    metrics = values.get("metrics") or METRICS
    if isinstance(metrics, str):
        raise InputError(f"{path}, metrics: expected a list such as [{metrics}], found {metrics!r}")
    tasks = _mapping(values.get("tasks"), f"{path}, tasks")
    training = _mapping(values.get("training") or {}, f"{path}, training", _TASK_KEYS)
    trials = _number(options.trials, values, "trials", 0, f"{path}")
    chosen = _chosen("tasks", options.tasks, tasks)
    methods = _methods(values.get("losses"), options.losses, tasks, f"{path}")
    for name, found in (("tasks", chosen), ("losses", methods)):
        if not found:
            raise InputError(f"{path}, {name}: there are none")
    labels = [method.label for method in methods]
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
        tasks=tuple(
            _task(name, tasks[name], training, trials, options.trials, f"{path}, task {name}") for name in chosen
        ),
        methods=methods,
        reference=reference,
        seeds=_number(options.seeds, values, "seeds", 1, f"{path}"),
        seed=_number(None, {"seed": 0, **values}, "seed", 0, f"{path}"),
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


def _task(name: str, entry: Any, training: Mapping[str, Any], trials: int, everywhere: int | None, where: str) -> Task:
    entry = _mapping(entry, where, ("needs", "config", "trials", *_TASK_KEYS))
    if "," in name:
        raise InputError(f"{where}: --tasks could not name it; write it without a comma")
    needs, config = str(entry.pop("needs", "")), entry.pop("config", None)
    if (own := entry.pop("trials", None)) is not None:
        trials = _number(everywhere, {"trials": own}, "trials", 0, where)
    argv = ["--config", str(config)] if config else []
    try:
        resolved = parse_config(argv, prog="", description="", over=[entry, training])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return Task(name, needs, config_to_dict(resolved), trials)


def _methods(entries: Any, wanted: list[str] | None, tasks: Collection[str], where: str) -> tuple[Method, ...]:
    shipped = catalogue()
    if isinstance(entries, list):
        if unknown := [label for label in map(str, entries) if label not in shipped]:
            raise InputError(
                f"{where}, losses: {unknown[0]!r} is not in {CATALOGUE}.yaml; {nearest_names(unknown[0], shipped)}"
            )
        own = {str(label): shipped[str(label)] for label in entries}
    elif isinstance(entries, dict):
        own = {str(label): shipped.get(str(label)) if entry is None else entry for label, entry in entries.items()}
    else:
        raise InputError(
            f"{where}, losses: expected a list of names out of {CATALOGUE}.yaml, such as [ce, spread_reweight], or a "
            f"mapping of own ones, found {entries!r:.80}"
        )
    if commas := [label for label in own if "," in label]:
        raise InputError(f"{where}, losses: --losses could not name {commas[0]!r}; write it without a comma")
    known = {**shipped, **own}
    return tuple(
        _method(label, known[label], tasks, f"{where}, {label}")
        for label in _chosen("losses", wanted, known, default=own)
    )


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


def _chosen(
    option: str, wanted: list[str] | None, known: Mapping[str, Any], default: Collection[str] | None = None
) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise InputError(f"--{option}: {name!r} is unknown; {nearest_names(name, known)}")
    return list(wanted or (known if default is None else default))


def _mapping(value: Any, where: str, known: Collection[str] | None = None) -> dict[str, Any]:
    """Give a mapping, whose entries are among those known, if these are given."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a mapping, found {value!r:.80}")
    for key in value:
        if known is not None and key not in known:
            raise InputError(f"{where}: unknown entry {key!r}; {nearest_names(str(key), sorted(known))}")
    return {str(key): item for key, item in value.items()}


def _number(given: int | None, values: Mapping[str, Any], name: str, least: int, where: str) -> int:
    value = values.get(name) if given is None else given
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{where}, {name}: expected a whole number of {least} or more, found {value!r}")
    return value
