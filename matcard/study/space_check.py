"""Spaces against the options there are: whatever would fail in some trial is refused before the first."""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING, Any, Union

from jsonargparse import ArgumentParser

from matcard.errors import InputError
from matcard.training.config import (
    NAMED,
    config_from_dict,
    flatten,
    nearest_options,
    nested,
    option_kinds,
    option_types,
    parsed,
)
from matcard.training.options import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matcard.study.space import Parameter, Space

_TRIED = 300
"""So many combinations of choices are tried at most."""
_OF_THE_STUDY = ("data.", "decision.", "seed", "name", "run_dir", "report", "trainer.devices", "trainer.num_nodes")
"""Beginnings of options that decide what a trial is measured on, or are none of its training's."""
_OF_A_TRIAL = ("data.graph.", "data.features", "data.composition_features", "data.standardise", "data.augment")
"""Options of the data that say how a sample is read, and not which samples and classes there are."""


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
        at = f"{where}, {parameter.name}"
        for option in sorted(parameter.options - set(known)):
            raise InputError(
                f"{at}: unknown option {option!r} where loss and model are "
                f"{' or '.join(_names(space, base)['loss'])} and {' or '.join(_names(space, base)['model'])}; "
                f"{nearest_options(option, known)}"
            )
        for option in sorted(parameter.options):
            if option.startswith(_OF_THE_STUDY) and not option.startswith(_OF_A_TRIAL):
                raise InputError(
                    f"{at}: {option} cannot be searched: it decides on which samples or classes a trial is measured, "
                    "or is none of its training's, so trials would not compare; leave it out, and give it to the study"
                )
            if (other := setters.setdefault(option, parameter.name)) != parameter.name:
                raise InputError(f"{where}: {other} and {parameter.name} both set {option}; leave it to one of them")
        if parameter.sets is not None and parameter.name in known:
            raise InputError(f"{at}: alternatives that set several options need a name of their own, not an option's")
        for condition in sorted(parameter.when.keys() - {*known, *names}):
            nearest = nearest_options(condition, [*known, *names])
            raise InputError(f"{at}, when: unknown option {condition!r}; {nearest}")
        _check_types(parameter, known, at)
    _check_points(space, base, where)


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
    for option in sorted(parameter.options):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument(f"--{option}", type=Union[tuple(known[option])])  # noqa: UP007
        for given in map(parameter.given, parameter.grid()):
            try:
                parsed(parser, {option: given[option]} if option in given else {}, [])
            except InputError as error:
                raise InputError(f"{where}: {error}") from error


def _check_points(space: Space, base: Mapping[str, Any], where: str) -> None:
    """Make the configurations of many points, every choice among them, with numbers at both ends and in the middle."""
    searched: set[str] = set()
    grids = {parameter.name: parameter.grid() for parameter in space.parameters}
    for chosen, place in itertools.product(_combinations(space), (0, 0.5, 1)):
        numbers = {name: grid[round(place * (len(grid) - 1))] for name, grid in grids.items()}
        point, values = space.walk(base, lambda p: {**numbers, **chosen}[p.name])  # noqa: B023
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
            conditions = (f"{name} is {' or '.join(map(str, values))}" for name, values in parameter.when.items())
            reason = f"it is nowhere so that {' and '.join(conditions)}"
            if not parameter.when:
                reason = "no loss and model that can be chosen has it"
            raise InputError(
                f"{where}, {parameter.name}: is never searched, since {reason}; change the condition, the choices or "
                "the configuration"
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
