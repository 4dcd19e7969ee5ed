"""One parameter of a search space: which values it takes, and what they set."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna import Trial


@dataclass(frozen=True)
class Parameter:
    """One thing that is searched: an option of the configuration, or alternatives that set several options together.

    Attributes:
        name: dotted name of the option; of alternatives a name of its own.
        kind: numbers between `low` and `high`, or one of `choices`.
        low: lowest value.
        high: highest value, included.
        log: even in the logarithm.
        step: distance of the values from one to the next; None for all.
        points: how many values of a range a grid takes.
        choices: what there is to choose from.
        sets: of alternatives, the options that each choice sets, by dotted name.
        when: searched only where each of these options (or alternatives) has one of these values.
    """

    name: str
    kind: Literal["float", "int", "categorical"]
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    points: int = 5
    choices: tuple[Any, ...] = ()
    sets: Mapping[str, Mapping[str, Any]] | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def options(self) -> set[str]:
        """Names of all options that it may set."""
        return {self.name} if self.sets is None else {name for options in self.sets.values() for name in options}

    def given(self, value: Any) -> dict[str, Any]:
        """Give the options that a value sets."""
        return {self.name: value} if self.sets is None else dict(self.sets[value])

    def suggest(self, trial: Trial) -> Any:
        """Have a trial choose a value."""
        if self.kind == "categorical":
            return trial.suggest_categorical(self.name, self.choices)
        if self.kind == "int":
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log, step=step)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step)

    def at(self, fraction: float) -> Any:
        """Give the value at a fraction in [0, 1) of the way through the parameter's values."""
        if self.kind == "categorical":
            return self.choices[int(fraction * len(self.choices))]
        if self.step is not None or (self.kind == "int" and not self.log):
            step = self.step or 1
            value = self.low + step * int(fraction * (math.floor((self.high - self.low) / step + 1e-9) + 1))
        elif self.log:
            # Of whole numbers each has the part of the way that rounds to it.
            half = 0.5 if self.kind == "int" else 0.0
            low, high = math.log(self.low - half), math.log(self.high + half)
            value = math.exp(low + fraction * (high - low))
        else:
            value = self.low + fraction * (self.high - self.low)
        value = min(max(value, self.low), self.high)
        return round(value) if self.kind == "int" else value

    def grid(self) -> list[Any]:
        """Give the values that a grid takes: all choices or steps, else `points` of the range, both ends included."""
        if self.kind == "categorical":
            return list(self.choices)
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            values = [self.low + k * self.step for k in range(count)]
        else:
            shares = [k / max(1, self.points - 1) for k in range(self.points)]
            low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
            values = [low + share * (high - low) for share in shares]
            values = [min(max(math.exp(v) if self.log else v, self.low), self.high) for v in values]
        return list(dict.fromkeys(round(v) for v in values)) if self.kind == "int" else values

    def found_in(self, options: Mapping[str, Any]) -> Any:
        """Give the value that stands for the given options.

        Raises:
            LookupError: none does.
        """
        for choice in self.choices:
            if all(name in options and same(options[name], value) for name, value in self.given(choice).items()):
                return choice
        value = options[self.name] if self.sets is None else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise LookupError(self.name)
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        if self.kind == "categorical" or not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise LookupError(self.name)
        return int(value) if self.kind == "int" else float(value)


def same(a: Any, b: Any) -> bool:
    """Tell whether two values of options are the same; True is not 1."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)
