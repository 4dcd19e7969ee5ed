"""Search spaces: read as YAML has them, checked before the first trial, a trial's values laid over a configuration."""

from __future__ import annotations

import itertools
import math
import random
import warnings
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from jsonargparse import ArgumentParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from matcard.errors import InputError, concerning, nearest_names
from matcard.training.config import (
    config_from_dict,
    flatten,
    nearest_options,
    nested,
    option_kinds,
    option_types,
    overlaid,
    parsed,
)
from matcard.training.options import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from optuna import Trial

    Values = Mapping[str, Any]

MOST_POINTS = 2000
"""A grid of more is a mistake."""
_POINTS = 5
_RANGE = {"type", "low", "high", "log", "step", "points", "when"}
_ENTRIES = {"float": _RANGE, "int": _RANGE, "categorical": {"type", "choices", "when"}}
_TRIED = 300
"""So many combinations of choices are tried at most."""
_OF_THE_STUDY = ("data.", "decision.", "seed", "name", "run_dir", "report", "trainer.devices", "trainer.num_nodes")
"""Beginnings of options that decide what a trial is measured on, or are none of its training's."""
_OF_A_TRIAL = ("data.graph.", "data.features", "data.composition_features", "data.augment")
"""Options of the data that say how a sample is read, and not which samples and classes there are."""


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
        values = self.values
        if isinstance(values, CategoricalDistribution):
            return trial.suggest_categorical(self.name, values.choices)
        suggest: Any = trial.suggest_int if isinstance(values, IntDistribution) else trial.suggest_float
        return suggest(self.name, values.low, values.high, log=values.log, step=values.step)

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
        ways = itertools.islice(self._ways(Parameter.grid, {}, dict(base)), MOST_POINTS + 1)
        if len(points := [point for point, _ in ways]) > MOST_POINTS:
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
    if parameter.sets is None and parameter.name not in known_options(values):
        return False
    return all(
        name in options and any(same(options[name], value) for value in allowed)
        for name, allowed in parameter.when.items()
    )


def known_options(values: Values) -> Mapping[str, Any]:
    """Give the options that a configuration can have: of a rival of a comparison those that it has."""
    return flatten(values) if "rival" in values else _known(tuple(option_kinds(values).items()))


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
    if kind not in _ENTRIES:
        raise InputError(f"{where}: type is {kind!r}; expected {', '.join(_ENTRIES)}")
    for key in sorted(map(str, set(entry) - _ENTRIES[kind])):
        raise InputError(f"{where}: unknown entry {key!r} of type {kind}; {nearest_names(key, _ENTRIES[kind])}")
    when = entry.get("when") or {}
    if not isinstance(when, dict):
        raise InputError(f"{where}, when: expected a mapping such as {{loss.name: [error]}}, found {when!r}")
    conditions = {str(key): v if isinstance(v, list) else [v] for key, v in when.items()}
    make = _categorical if kind == "categorical" else _number
    return make(name, entry, conditions, where)


def _categorical(name: str, entry: Values, when: dict[str, list[Any]], where: str) -> Parameter:
    if not isinstance(choices := entry.get("choices"), list | dict) or not choices:
        raise InputError(f"{where}: choices are {choices!r}; expected a list of values, or a mapping of alternatives")
    sets = {str(label): options for label, options in choices.items()} if isinstance(choices, dict) else None
    for label, options in (sets or {}).items():
        if not isinstance(options, dict) or not options:
            raise InputError(
                f"{where}, {label}: expected options that it sets, such as {{loss.combine: add}}, found {options!r}"
            )
    values = tuple(sets or map(_as_number, choices))
    for value in values:
        if not isinstance(value, bool | int | float | str | None):
            raise InputError(f"{where}: choice {value!r} is no plain value; name it, as in choices: {{NAME: {{...}}}}")
    if len({repr(value) for value in values}) < len(values):
        raise InputError(f"{where}: the same choice stands twice in {list(values)}")
    return Parameter(name, CategoricalDistribution(values), sets=sets, when=when)


def _number(name: str, entry: Values, when: dict[str, list[Any]], where: str) -> Parameter:
    given = {key: _as_number(entry.get(key)) for key in ("low", "high", "step", "points") if entry.get(key) is not None}
    if missing := [key for key in ("low", "high") if key not in given]:
        raise InputError(f"{where}: {missing[0]} is missing; expected low and high, the ends of the range")
    for key, value in given.items():
        whole = entry["type"] == "int" or key == "points"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
            raise InputError(f"{where}: {key} is {value!r}; expected a {'whole ' if whole else ''}number")
    if not isinstance(log := entry.get("log", False), bool):
        raise InputError(f"{where}: log is {log!r}; expected true or false")
    if (points := given.pop("points", _POINTS)) < 2:
        raise InputError(f"{where}: points is {points}; expected 2 or more")
    with concerning(where, ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a range is cut to whole steps
        values = (IntDistribution if entry["type"] == "int" else FloatDistribution)(log=log, **given)
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


def check_space(space: Space, base: Values, where: str = "the space") -> None:
    """Refuse what would fail in some trial, before the first one.

    Args:
        space: as it was read.
        base: the resolved configuration that trials are laid over, nested.
        where: what the space is called in messages.

    Raises:
        InputError: an unknown option, with the nearest names; one that would give each trial other samples; a value
            that an option does not take; a condition that never holds; a combination that is no valid configuration.
    """
    setters: dict[str, str] = {}
    for parameter in space.parameters:
        for option in sorted(parameter.options):
            if option.startswith(_OF_THE_STUDY) and not option.startswith(_OF_A_TRIAL):
                raise InputError(
                    f"{where}, {parameter.name}: {option} cannot be searched: it decides on which samples or classes a "
                    "trial is measured, or is none of its training's, so trials would not compare; leave it out, and "
                    "give it to the study"
                )
            if (other := setters.setdefault(option, parameter.name)) != parameter.name:
                raise InputError(f"{where}: {other} and {parameter.name} both set {option}; leave it to one of them")
    known: dict[str, set[Any]] = {}
    searched: set[str] = set()
    chosen: set[str] = set()
    for point, values in _some_points(space, base):
        shown = ", ".join(f"{name} {value}" for name, value in point.items())
        with concerning(f"{where}: the point {shown} is no valid configuration (leave it out by a condition, `when`)"):
            config = config_from_dict(values)
            chosen |= {config.loss.name, config.model.name}
            searched |= point.keys()
            for option, kind in known_options(values).items():
                known.setdefault(option, set()).add(kind)
    names = {*known, *(parameter.name for parameter in space.parameters)}
    for parameter in space.parameters:
        at = f"{where}, {parameter.name}"
        if parameter.sets is not None and parameter.name in known:
            raise InputError(f"{at}: alternatives that set several options need a name of their own, not an option's")
        for condition in sorted(parameter.when.keys() - names):
            raise InputError(f"{at}, when: unknown option {condition!r}; {nearest_options(condition, names)}")
        if parameter.sets is None and parameter.name not in known:
            nearest = nearest_options(parameter.name, known)
            raise InputError(f"{at}: {' and '.join(sorted(chosen))} have no option {parameter.name!r}; {nearest}")
        if parameter.name not in searched:
            conditions = " and ".join(f"{name} is {' or '.join(map(str, of))}" for name, of in parameter.when.items())
            raise InputError(
                f"{at}: is never searched, since it is nowhere so that {conditions}; change the condition, the choices "
                "or the configuration"
            )
        _check_types(parameter, known, at)


def _some_points(space: Space, base: Values) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Give many points, every choice among them, with numbers at both ends and in the middle; see `Space.walk`."""
    grids = {parameter.name: parameter.grid() for parameter in space.parameters}
    axes, rng = {p.name: p.choices for p in space.parameters if p.choices}, random.Random(0)
    if math.prod(map(len, axes.values())) > _TRIED:  # some of them at random, the same each time
        combinations = [{name: rng.choice(choices) for name, choices in axes.items()} for _ in range(_TRIED)]
    else:
        combinations = [dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())]
    for chosen, place in itertools.product(combinations, (0, 0.5, 1)):
        numbers = {name: grid[round(place * (len(grid) - 1))] for name, grid in grids.items()}
        yield space.walk(base, lambda p: {**numbers, **chosen}[p.name])  # noqa: B023


def _check_types(parameter: Parameter, known: Mapping[str, set[Any]], where: str) -> None:
    for option in sorted(parameter.options):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument(f"--{option}", type=Union[tuple(known[option])])  # noqa: UP007
        for given in map(parameter.given, parameter.grid()):
            with concerning(where):
                parsed(parser, {option: given[option]} if option in given else {}, [])
