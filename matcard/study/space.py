"""Search spaces: read from mappings as YAML has them, and a trial's values laid over a configuration."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from matcard.errors import InputError, nearest_names
from matcard.training.config import flatten, nested, option_kinds, option_types, overlaid
from matcard.training.options import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from optuna import Trial

    Values = Mapping[str, Any]

MOST_POINTS = 2000
"""A grid of more is a mistake."""
_POINTS = 5
_RANGE = {"type", "low", "high", "log", "step", "points", "when"}
_CHOICE = {"type", "choices", "when"}
_TYPES = ("float", "int", "categorical")


@dataclass(frozen=True)
class Parameter:
    """One thing that is searched: an option of the configuration, or alternatives that set several options together.

    Attributes:
        name: dotted name of the option; of alternatives a name of its own.
        values: what there is to choose from; of alternatives their names.
        points: how many values of a range a grid takes.
        sets: of alternatives, the options that each sets, by dotted name.
        when: searched only where each of these options (or alternatives) has one of these values.
    """

    name: str
    values: FloatDistribution | IntDistribution | CategoricalDistribution
    points: int = _POINTS
    sets: Mapping[str, Values] | None = None
    when: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def options(self) -> set[str]:
        """Names of all options that it may set."""
        return {self.name} if self.sets is None else {name for options in self.sets.values() for name in options}

    @property
    def choices(self) -> Sequence[Any]:
        """What there is to choose from; nothing of a range."""
        return self.values.choices if isinstance(self.values, CategoricalDistribution) else ()

    def given(self, value: Any) -> dict[str, Any]:
        """Give the options that a value sets."""
        return {self.name: value} if self.sets is None else dict(self.sets[value])

    def suggest(self, trial: Trial) -> Any:
        """Have a trial choose a value."""
        match self.values:
            case CategoricalDistribution(choices=choices):
                return trial.suggest_categorical(self.name, choices)
            case IntDistribution(low=low, high=high, log=log, step=step):
                return trial.suggest_int(self.name, low, high, log=log, step=step)
            case FloatDistribution(low=low, high=high, log=log, step=step):
                return trial.suggest_float(self.name, low, high, log=log, step=step)

    def grid(self) -> list[Any]:
        """Give the values that a grid takes: all choices, or `points` of the range, both ends included."""
        if isinstance(self.values, CategoricalDistribution):
            return list(self.values.choices)
        spaced = np.geomspace if self.values.log else np.linspace
        values = spaced(self.values.low, self.values.high, self.points).tolist()
        return list(dict.fromkeys(map(round, values))) if isinstance(self.values, IntDistribution) else values

    def found_in(self, options: Values) -> Any:
        """Give the value that stands for the given options.

        Raises:
            LookupError: none does.
        """
        for choice in self.choices:
            if all(name in options and same(options[name], value) for name, value in self.given(choice).items()):
                return choice
        value = None if self.choices else options[self.name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.values._contains(value):
            raise LookupError(self.name)
        return self.values.to_external_repr(value)


def same(a: Any, b: Any) -> bool:
    """Tell whether two values of options are the same; True is not 1."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


@dataclass(frozen=True)
class Space:
    """Parameters in an order in which each comes after those that it depends on."""

    parameters: tuple[Parameter, ...]

    def walk(self, base: Values, choose: Callable[[Parameter], Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Choose a value of each parameter that is searched, given those before it.

        Args:
            base: a resolved configuration as nested mappings.
            choose: gives the value of a parameter.

        Returns:
            The values by parameter, and the configuration with them laid over it.
        """
        return next(self._ways(lambda parameter: [choose(parameter)], {}, dict(base)))

    def suggest(self, trial: Trial, base: Values) -> dict[str, Any]:
        """Have a trial choose, and give its configuration."""
        return self.walk(base, lambda parameter: parameter.suggest(trial))[1]

    def apply(self, params: Values, base: Values) -> dict[str, Any]:
        """Give the configuration of a trial with the given values."""
        return self.walk(base, lambda parameter: params[parameter.name])[1]

    def point_of(self, base: Values) -> dict[str, Any] | None:
        """Give the values that stand for a configuration as it is; None where it lies outside the space."""
        options = flatten(base)
        try:
            return self.walk(base, lambda parameter: parameter.found_in(options))[0]
        except LookupError:
            return None

    def grid(self, base: Values) -> list[dict[str, Any]]:
        """Give every point of the grid once; parameters that are not searched at a point are not in it.

        Raises:
            InputError: too many.
        """
        points = [point for point, _ in itertools.islice(self._ways(Parameter.grid, {}, dict(base)), MOST_POINTS + 1)]
        if len(points) > MOST_POINTS:
            raise InputError(
                f"--sampler grid: the space has more than {MOST_POINTS} points: give `step`, `choices` or fewer "
                "`points`, or take another sampler"
            )
        return points

    def _ways(
        self,
        choices: Callable[[Parameter], Iterable[Any]],
        params: dict[str, Any],
        values: dict[str, Any],
        index: int = 0,
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Walk every way from a parameter on, once each; see `walk`."""
        if index == len(self.parameters):
            yield params, values
            return
        parameter = self.parameters[index]
        if not _is_searched(parameter, params, values):
            yield from self._ways(choices, params, values, index + 1)
            return
        for value in choices(parameter):
            chosen = overlaid(values, nested(parameter.given(value)))
            yield from self._ways(choices, {**params, parameter.name: value}, chosen, index + 1)


def _is_searched(parameter: Parameter, params: Values, values: Values) -> bool:
    """Tell whether a parameter has a meaning where others are chosen.

    Its option must be one that the chosen loss and model have, and its conditions must hold.
    """
    options = {**flatten(values), **params}
    if parameter.sets is None and parameter.name not in _known(tuple(option_kinds(values).items())):
        return False
    return all(
        name in options and any(same(options[name], value) for value in allowed)
        for name, allowed in parameter.when.items()
    )


@cache
def _known(kinds: tuple[tuple[str, type], ...]) -> dict[str, Any]:
    return dict(option_types(Config, dict(kinds)))


def make_space(entries: Values, where: str = "the space") -> Space:
    """Make a space of a mapping: parameter -> its range or choices, and `config` -> options that go with them.

    Raises:
        InputError: an entry that says no range or choices.
    """
    if not isinstance(config := entries.get("config") or {}, dict):
        raise InputError(f"{where}, config: expected a mapping of options, found {config!r}")
    parameters = [_parameter(str(name), entry, where) for name, entry in entries.items() if name != "config"]
    if not parameters:
        raise InputError(f"{where}: searches nothing; expected a line such as 'loss.scale: {{low: 0.3, high: 10}}'")
    return Space(_ordered(parameters, where))


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
    conditions = {str(key): v if isinstance(v, list) else [v] for key, v in when.items()}
    if kind == "categorical":
        return _categorical(name, entry.get("choices"), conditions, where)
    return _number(name, kind, entry, conditions, where)


def _categorical(name: str, choices: Any, when: dict[str, list[Any]], where: str) -> Parameter:
    if not isinstance(choices, list | dict) or not choices:
        raise InputError(f"{where}: choices are {choices!r}; expected a list of values, or a mapping of alternatives")
    if isinstance(choices, dict):
        for label, options in choices.items():
            if not isinstance(options, dict) or not options:
                raise InputError(
                    f"{where}, {label}: expected options that it sets, such as {{loss.combine: add}}, found {options!r}"
                )
        sets = {str(label): options for label, options in choices.items()}
        return Parameter(name, CategoricalDistribution(tuple(sets)), sets=sets, when=when)
    values = tuple(map(_as_number, choices))
    for value in values:
        if not isinstance(value, bool | int | float | str | NoneType):
            raise InputError(f"{where}: choice {value!r} is no plain value; name it, as in choices: {{NAME: {{...}}}}")
    if len({repr(value) for value in values}) < len(values):
        raise InputError(f"{where}: the same choice stands twice in {list(values)}")
    return Parameter(name, CategoricalDistribution(values), when=when)


def _number(name: str, kind: str, entry: dict[str, Any], when: dict[str, list[Any]], where: str) -> Parameter:
    given = {key: _as_number(entry.get(key)) for key in ("low", "high", "step", "points") if entry.get(key) is not None}
    for key in ("low", "high"):
        if key not in given:
            raise InputError(f"{where}: {key} is missing; expected low and high, the ends of the range")
    for key, value in given.items():
        whole = kind == "int" or key == "points"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
            raise InputError(f"{where}: {key} is {value!r}; expected a {'whole ' if whole else ''}number")
    if not isinstance(log := entry.get("log", False), bool):
        raise InputError(f"{where}: log is {log!r}; expected true or false")
    if (points := given.pop("points", _POINTS)) < 2:
        raise InputError(f"{where}: points is {points}; expected 2 or more")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a range is cut to whole steps
            values = (IntDistribution if kind == "int" else FloatDistribution)(log=log, **given)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    if values.low == values.high:
        raise InputError(f"{where}: the range holds one value; expected low below high, and no step longer than it")
    if "step" in given:
        points = round((values.high - values.low) / given["step"]) + 1
    return Parameter(name, values, points, when=when)


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
        sections = (itertools.accumulate(option.split(".")[:-1], "{}.{}".format) for option in parameter.options)
        kinds = {f"{section}.name" for section in itertools.chain(*sections)} - parameter.options
        needed = {*parameter.when, *kinds}
        graph[parameter.name] = [other.name for other in parameters if {other.name, *other.options} & needed]
    try:
        return tuple(by_name[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise InputError(f"{where}: these depend on each other in a circle: {' -> '.join(error.args[1])}") from error
