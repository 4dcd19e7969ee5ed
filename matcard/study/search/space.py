"""Search spaces: when a parameter is searched, and how a trial's values become a configuration."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from matcard.errors import InputError
from matcard.study.search.parameter import same
from matcard.training.config import flatten, nested, option_kinds, option_types, overlaid
from matcard.training.options import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from optuna import Trial

    from matcard.study.search.parameter import Parameter

    Values = Mapping[str, Any]

MOST_POINTS = 2000
"""A grid of more is a mistake."""


@dataclass(frozen=True)
class Space:
    """Parameters in an order in which each comes after those that it depends on.

    Attributes:
        parameters: what is searched.
        config: options, nested, that go with the space: they are laid over the configuration.
    """

    parameters: tuple[Parameter, ...]
    config: Values = field(default_factory=dict)

    def walk(self, base: Values, choose: Callable[[Parameter], Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Choose a value of each parameter that is searched, given those before it.

        Args:
            base: a resolved configuration as nested mappings.
            choose: gives the value of a parameter.

        Returns:
            The values by parameter, and the configuration with them laid over it.
        """
        params: dict[str, Any] = {}
        values = dict(base)
        for parameter in self.parameters:
            if is_searched(parameter, params, values):
                params[parameter.name] = choose(parameter)
                values = overlaid(values, nested(parameter.given(params[parameter.name])))
        return params, values

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
        points = list(itertools.islice(self._branches(0, {}, base), MOST_POINTS + 1))
        if len(points) > MOST_POINTS:
            raise InputError(
                f"--sampler grid: the space has more than {MOST_POINTS} points: give `step`, `choices` or fewer "
                "`points`, or take another sampler"
            )
        return points

    def _branches(self, index: int, params: dict[str, Any], values: Values) -> Iterator[dict[str, Any]]:
        """Walk every way from a parameter on, once each."""
        if index == len(self.parameters):
            yield params
            return
        parameter = self.parameters[index]
        if not is_searched(parameter, params, values):
            yield from self._branches(index + 1, params, values)
            return
        for value in parameter.grid():
            chosen = overlaid(values, nested(parameter.given(value)))
            yield from self._branches(index + 1, {**params, parameter.name: value}, chosen)


def is_searched(parameter: Parameter, params: Values, values: Values) -> bool:
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


def known_options(values: Values) -> dict[str, Any]:
    """Give all options, with their types, of a configuration's loss and model."""
    return _known(tuple(option_kinds(values).items()))


@cache
def _known(kinds: tuple[tuple[str, type], ...]) -> dict[str, Any]:
    return dict(option_types(Config, dict(kinds)))
