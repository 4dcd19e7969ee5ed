"""Checks of option values; each raises an `InputError` that names the option and says what was expected."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection


def within(option: str, value: Any, low: float, high: float = math.inf, ends: str = "[)") -> None:
    """Refuse what is not a finite number between two ends, `[` and `]` belonging to the interval."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    above = number and (value > low or (value == low and ends[0] == "["))
    below = number and (value < high or (value == high and ends[1] == "]"))
    if not (above and below):
        raise InputError(f"loss.{option} is {value!r}: expected a number in {ends[0]}{low:g}, {high:g}{ends[1]}")


def whole(option: str, value: Any) -> None:
    """Refuse what is not a whole number of 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"loss.{option} is {value!r}: expected a whole number of 1 or more")


def one_of(option: str, value: Any, known: Collection[Any]) -> None:
    """Refuse what is not among the known values."""
    if value not in known:
        raise InputError(f"loss.{option} is {value!r}: expected one of {', '.join(map(str, known))}")
