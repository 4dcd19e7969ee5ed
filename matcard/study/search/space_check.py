"""Spaces against the options there are: whatever would fail in some trial is refused before the first."""

from __future__ import annotations

import itertools
import math
import random
import types
import typing
from typing import TYPE_CHECKING, Any, Literal

from matcard.errors import InputError
from matcard.training.config import (
    NAMED,
    config_from_dict,
    flatten,
    nested,
    option_kinds,
    option_types,
)
from matcard.training.options import Config
from matcard.training.parser import nearest_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matcard.study.search.parameter import Parameter
    from matcard.study.search.space import Space

_TRIED = 300
"""So many combinations of choices are tried at most."""
_SHARES = (0.0, 1 / math.pi, 1 - 1e-9)
"""Both ends of a range and a value inside it that is no round number."""

_OF_DATA = ("data.graph.", "data.features", "data.composition_features", "data.standardise", "data.augment")
"""Options of the data that say how a sample is read, and not which samples and classes there are."""
_OF_THE_STUDY = ("seed", "name", "run_dir", "report", "trainer.devices")


def check_space(space: Space, base: Mapping[str, Any], where: str = "the space") -> None:
    """Refuse what would fail in some trial, before the first one.

    Args:
        space: as it was read.
        base: the resolved configuration that trials are laid over, nested.
        where: what the space is called in messages.

    Raises:
        InputError: an unknown option, with the nearest names; one that would give each trial other samples; a value
            that an option does not take; a condition that never holds; a combination that is no valid configuration.
    """
    known = _options_of_all(space, base)
    names = {parameter.name for parameter in space.parameters}
    setters: dict[str, str] = {}
    for parameter in space.parameters:
        for option in sorted(parameter.options - set(known)):
            raise InputError(
                f"{where}, {parameter.name}: unknown option {option!r} where loss and model are "
                f"{' or '.join(_names(space, base)['loss'])} and {' or '.join(_names(space, base)['model'])}; "
                f"{nearest_options(option, known)}"
            )
        for option in sorted(parameter.options):
            if not _may_be_searched(option):
                raise InputError(
                    f"{where}, {parameter.name}: {option} cannot be searched: it decides on which samples or classes a "
                    "trial is measured, or is none of its training's, so trials would not compare; leave it out, and "
                    f"give --{option} to the study"
                )
        if parameter.sets is not None and parameter.name in known:
            raise InputError(
                f"{where}, {parameter.name}: alternatives that set several options need a name of their own, not "
                "that of an option"
            )
        for condition in parameter.when:
            if condition not in known and condition not in names:
                raise InputError(
                    f"{where}, {parameter.name}, when: unknown option {condition!r}; "
                    f"{nearest_options(condition, [*known, *names])}"
                )
        for option in parameter.options:
            if (other := setters.setdefault(option, parameter.name)) != parameter.name:
                raise InputError(f"{where}: {other} and {parameter.name} both set {option}; leave it to one of them")
        _check_types(parameter, known, f"{where}, {parameter.name}")
    _check_points(space, base, where)


def _may_be_searched(option: str) -> bool:
    """Tell whether trials compare that differ in an option."""
    of_task = option.startswith("data.") and not option.startswith(_OF_DATA)
    return not (of_task or option.startswith("decision.") or option in _OF_THE_STUDY)


def _options_of_all(space: Space, base: Mapping[str, Any]) -> dict[str, set[Any]]:
    """Give the options of every loss and model that can be chosen, each with its types."""
    names = _names(space, base)
    known: dict[str, set[Any]] = {}
    for chosen in itertools.product(*names.values()):
        kinds = option_kinds(nested({f"{part}.name": name for part, name in zip(names, chosen, strict=True) if name}))
        for option, kind in option_types(Config, kinds):
            known.setdefault(option, set()).add(kind)
    return known


def _names(space: Space, base: Mapping[str, Any]) -> dict[str, list[str]]:
    """Give the names of the models, losses and base losses that can be chosen; "" of a base where a loss has none."""
    options = flatten(base)
    names = {part: [options.get(f"{part}.name", "")] for part in NAMED}
    for part, found in names.items():
        for parameter in space.parameters:
            sets = [parameter.given(choice) for choice in parameter.choices]
            found += [o[f"{part}.name"] for o in sets if isinstance(o.get(f"{part}.name"), str)]
    return {part: list(dict.fromkeys(found)) for part, found in names.items()}


def _check_types(parameter: Parameter, known: Mapping[str, set[Any]], where: str) -> None:
    values = [parameter.at(share) for share in _SHARES] if parameter.kind != "categorical" else parameter.choices
    for value in values:
        for option, set_to in parameter.given(value).items():
            if not any(_fits(set_to, kind) for kind in known[option]):
                kinds = " or ".join(sorted(map(_described, known[option])))
                hint = "; give type: int" if isinstance(set_to, float) and _fits(0, next(iter(known[option]))) else ""
                raise InputError(f"{where}: {option} takes {kinds}, not {set_to!r}{hint}")


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether an option of a type takes a value as YAML gives it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _described(kind: Any) -> str:
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return ", ".join(map(str, inner))
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(map(_described, inner))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", types.NoneType: "null"}
    return names.get(kind, "a list")


def _check_points(space: Space, base: Mapping[str, Any], where: str) -> None:
    """Make the configurations of many points, every choice among them, with numbers at both ends and inside."""
    searched: set[str] = set()
    for chosen, share in itertools.product(_combinations(space), _SHARES):
        point, values = space.walk(base, lambda p: chosen.get(p.name, p.at(share)))  # noqa: B023
        searched |= point.keys()
        try:
            config_from_dict(values)
        except InputError as error:
            shown = ", ".join(f"{name} {value}" for name, value in point.items())
            raise InputError(
                f"{where}: the point {shown} is no valid configuration: {error}. Leave it out by a condition (`when`)"
            ) from error
    for parameter in space.parameters:
        if parameter.name not in searched:
            raise InputError(
                f"{where}, {parameter.name}: is never searched, since {_reason(parameter)}; change the condition, the "
                "choices or the configuration"
            )


def _combinations(space: Space) -> Iterator[dict[str, Any]]:
    """Give combinations of all choices, or some of them at random, the same each time, where they are many."""
    axes = {p.name: p.choices for p in space.parameters if p.choices}
    if math.prod(map(len, axes.values())) <= _TRIED:
        for combination in itertools.product(*axes.values()):
            yield dict(zip(axes, combination, strict=True))
        return
    rng = random.Random(0)
    for _ in range(_TRIED):
        yield {name: rng.choice(choices) for name, choices in axes.items()}


def _reason(parameter: Parameter) -> str:
    if not parameter.when:
        return "no loss and model that can be chosen has it"
    conditions = (f"{name} is {' or '.join(map(str, values))}" for name, values in parameter.when.items())
    return f"it is nowhere so that {' and '.join(conditions)}"
