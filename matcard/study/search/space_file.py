"""Spaces from mappings, as YAML has them: ranges and choices read, and put in order."""

from __future__ import annotations

import math
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate, chain
from types import NoneType
from typing import TYPE_CHECKING, Any

from matcard.errors import InputError, nearest_names
from matcard.study.search.parameter import Parameter
from matcard.study.search.space import Space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RANGE = {"type", "low", "high", "log", "step", "points", "when"}
_CHOICE = {"type", "choices", "when"}
_TYPES = ("float", "int", "categorical")


def make_space(entries: Mapping[str, Any], where: str = "the space") -> Space:
    """Make a space of a mapping: parameter -> its range or choices, and `config` -> options that go with them.

    Raises:
        InputError: an entry that says no range or choices.
    """
    config = entries.get("config") or {}
    if not isinstance(config, dict):
        raise InputError(f"{where}, config: expected a mapping of options, found {config!r}")
    parameters = [_parameter(str(name), entry, where) for name, entry in entries.items() if name != "config"]
    if not parameters:
        raise InputError(f"{where}: searches nothing; expected a line such as 'loss.scale: {{low: 0.3, high: 10}}'")
    return Space(_ordered(parameters, where), config)


def _parameter(name: str, entry: Any, where: str) -> Parameter:
    where = f"{where}, {name}"
    if not isinstance(entry, dict):
        raise InputError(
            f"{where}: expected {{type: float, low: 0.3, high: 10}} or {{choices: [...]}}, found {entry!r}"
        )
    kind = entry.get("type", "categorical" if "choices" in entry else None)
    if kind not in _TYPES:
        raise InputError(f"{where}: type is {kind!r}; expected {', '.join(_TYPES)}")
    allowed = _CHOICE if kind == "categorical" else _RANGE
    for key in sorted(map(str, set(entry) - allowed)):
        raise InputError(f"{where}: unknown entry {key!r} of type {kind}; {nearest_names(key, sorted(allowed))}")
    when = entry.get("when") or {}
    if not isinstance(when, dict):
        raise InputError(f"{where}, when: expected a mapping such as {{loss.name: [error]}}, found {when!r}")
    conditions = {str(key): tuple(v if isinstance(v, list) else [v]) for key, v in when.items()}
    if kind == "categorical":
        return _categorical(name, entry.get("choices"), conditions, where)
    return _number(name, kind, entry, conditions, where)


def _categorical(name: str, choices: Any, when: dict[str, tuple[Any, ...]], where: str) -> Parameter:
    if not isinstance(choices, list | dict) or not choices:
        raise InputError(f"{where}: choices are {choices!r}; expected a list of values, or a mapping of alternatives")
    if isinstance(choices, dict):
        for label, options in choices.items():
            if not isinstance(options, dict) or not options:
                raise InputError(
                    f"{where}, {label}: expected options that it sets, such as {{loss.combine: add}}, found {options!r}"
                )
        sets = {str(label): options for label, options in choices.items()}
        return Parameter(name, "categorical", choices=tuple(sets), sets=sets, when=when)
    values = tuple(_as_number(choice) for choice in choices)
    for value in values:
        if not isinstance(value, bool | int | float | str | NoneType):
            raise InputError(f"{where}: choice {value!r} is no plain value; name it, as in choices: {{NAME: {{...}}}}")
    if len({repr(value) for value in values}) < len(values):
        raise InputError(f"{where}: the same choice stands twice in {list(values)}")
    return Parameter(name, "categorical", choices=values, when=when)


def _number(name: str, kind: Any, entry: dict[str, Any], when: dict[str, tuple[Any, ...]], where: str) -> Parameter:
    given = {key: _as_number(entry.get(key)) for key in ("low", "high", "step", "points") if entry.get(key) is not None}
    for key in ("low", "high"):
        if key not in given:
            raise InputError(f"{where}: {key} is missing; expected low and high, the ends of the range")
    for key, value in given.items():
        whole = kind == "int" or key == "points"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
            raise InputError(f"{where}: {key} is {value!r}; expected a {'whole ' if whole else ''}number")
    low, high, step = given["low"], given["high"], given.get("step")
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}: log is {log!r}; expected true or false")
    if low >= high:
        raise InputError(f"{where}: the range from {low:g} to {high:g} is empty; expected low below high")
    if log and low <= 0:
        raise InputError(f"{where}: low is {low:g}, and log needs a low end above 0")
    if step is not None and (log or not 0 < step <= high - low):
        raise InputError(
            f"{where}: a step does not go with log; leave out one of them"
            if log
            else f"{where}: step is {step:g}; expected a number above 0 and no longer than the range"
        )
    points = given.get("points", Parameter.points)
    if points < 2:
        raise InputError(f"{where}: points is {points}; expected 2 or more")
    if step is not None:
        high = low + step * math.floor((high - low) / step + 1e-9)  # Optuna wants a range of whole steps
    return Parameter(name, kind, low, high, log, step, int(points), when=when)


def _as_number(value: Any) -> Any:
    """Read what YAML takes for a text, such as 1e-4, as the number that is meant."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _ordered(parameters: Sequence[Parameter], where: str) -> tuple[Parameter, ...]:
    """Put each parameter behind those that decide whether it is searched."""
    by_name = {parameter.name: parameter for parameter in parameters}
    graph = {}
    for parameter in parameters:
        # The name of the loss decides which other options of the loss there are.
        sections = (accumulate(option.split(".")[:-1], "{}.{}".format) for option in parameter.options)
        kinds = {f"{section}.name" for section in chain(*sections)} - parameter.options
        needed = {*parameter.when, *kinds}
        graph[parameter.name] = [other.name for other in parameters if {other.name, *other.options} & needed]
    try:
        return tuple(by_name[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise InputError(f"{where}: these depend on each other in a circle: {' -> '.join(error.args[1])}") from error
