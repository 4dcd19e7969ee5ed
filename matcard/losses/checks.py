"""Checks of option values; each raises an `InputError` that names the option and says what was expected."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection


def within(option: str, value: Any, low: float, high: float = math.inf, ends: str = "[)") -> None:
    """Refuse what is not a finite number between two ends, `[` and `]` belonging to the interval."""
    number = float(value) if _is(Real, value) else math.nan
    above = number > low or (number == low and ends[0] == "[")
    below = number < high or (number == high and ends[1] == "]")
    if not (above and below and math.isfinite(number)):
        raise InputError(f"loss.{option} is {value!r}: expected a number in {ends[0]}{low:g}, {high:g}{ends[1]}")


def whole(option: str, value: Any, low: int) -> None:
    """Refuse what is not a whole number of `low` or more."""
    if not _is(Integral, value) or value < low:
        raise InputError(f"loss.{option} is {value!r}: expected a whole number of {low} or more")


def epochs_or_share(option: str, value: Any) -> None:
    """Refuse what is neither a whole number of epochs nor a share of all of them."""
    within(option, value, 0)
    if value > 1 and value != int(value):
        raise InputError(f"loss.{option} is {value!r}: expected a whole number of epochs, or a share of all, below 1")


def one_of(option: str, value: Any, known: Collection[Any]) -> None:
    """Refuse what is not among the known values."""
    if value not in known:
        raise InputError(f"loss.{option} is {value!r}: expected one of {', '.join(map(str, known))}")


def _is(kind: type, value: Any) -> bool:
    """Tell whether a value is such a number, be it Python's or NumPy's; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)
