"""Options of losses and models: what each may be, as its type says, and the class that goes by their name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, get_args, get_origin, get_type_hints

from typing_extensions import TypeVar

from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class Within:
    """The numbers between two ends, of which `[` and `]` belong to them; whole ones only, if so said."""

    low: float = 0
    high: float = math.inf
    ends: str = "[)"
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        # Python's and NumPy's numbers alike; True and False are none, and NaN is nowhere.
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        number = float(value)
        above = number > self.low or (number == self.low and self.ends[0] == "[")
        return above and (number < self.high or (number == self.high and self.ends[1] == "]"))

    def __str__(self) -> str:
        number = f"a {'whole ' * self.whole}number"
        if self.high == math.inf:
            return f"{number} of {self.low:g} or more" if self.ends[0] == "[" else f"{number} above {self.low:g}"
        return f"{number} in {self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


NotNegative = Annotated[float, Within()]
Positive = Annotated[float, Within(ends="()")]
Share = Annotated[float, Within(0, 1)]
AtLeastOne = Annotated[int, Within(1, whole=True)]


class Choices(tuple[Any, ...]):
    """The values that an option may have."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self))}"


@dataclass(frozen=True)
class NamedOptions:
    """Options of a loss or a model: `name` says which, and what else it takes stands in a subclass beside its code.

    The type of an option is its rule: a `Literal`, `bool`, or a number that is `Annotated` with its range.

    Raises:
        InputError: a value against its rule.
    """

    kind: ClassVar[str]
    """What goes by the name: a loss, a model."""

    name: str = ""
    """Which one."""

    def __post_init__(self) -> None:
        for option, allowed in rules(type(self)).items():  # type: ignore[arg-type]
            value, default = getattr(self, option), getattr(type(self), option)
            if value not in allowed and not (value is None and default is None):
                raise self.wrong(option, str(allowed))
        object.__setattr__(self, "name", type(self).name)  # for another name that the same goes by

    def wrong(self, option: str, expected: str) -> InputError:
        """Make the error for an option with a value that it cannot have."""
        return InputError(
            f"option {option} of {self.kind} {type(self).name!r} is {getattr(self, option)!r}: expected {expected}"
        )


@cache
def rules(options: Any) -> dict[str, Choices | Within]:
    """Give what options may be, as their types say."""
    found: dict[str, Choices | Within] = {}
    for option, kind in get_type_hints(options, include_extras=True).items():
        if kind is bool:
            found[option] = Choices((False, True))
        words = [part for part in (kind, *get_args(kind)) if get_origin(part) is Literal]
        # `Literal["a", "b"] | None` is its words, `int | Literal["auto"]` is more than them.
        if words == [kind] or (words and set(get_args(kind)) == {words[0], NoneType}):
            found[option] = Choices(get_args(words[0]))
        for part in (kind, *get_args(kind)):
            for rule in getattr(part, "__metadata__", ()):
                if isinstance(rule, Within):
                    found[option] = rule
    return found


def check_options(options: Any, prefix: str = "--") -> None:
    """Check the options of a dataclass by their types, as `NamedOptions` does; None is taken where it may be.

    Raises:
        InputError: the first value against its rule; the option is named with `prefix` before it.
    """
    for option, allowed in rules(type(options)).items():  # type: ignore[arg-type]
        value = getattr(options, option)
        if value is None or value in allowed:
            continue
        if isinstance(allowed, Choices):
            raise InputError(f"{prefix}{option} {value!r}: {nearest_names(str(value), map(str, allowed))}")
        raise InputError(f"{prefix}{option} is {value!r}: expected {allowed}")


def goes_by(options: type[NamedOptions]) -> tuple[str, ...]:
    """Give the names of a loss or a model: its own, and others that stand for it."""
    names = rules(options).get("name")  # type: ignore[arg-type]
    return names if isinstance(names, Choices) else (options.name,)


O = TypeVar("O", bound=NamedOptions, default=Any)  # noqa: E741


class Named(Generic[O]):
    """What goes by the name in its options: `class Focal(SampleLoss[FocalOptions])` is known from there on.

    A class that begins a kind of its own says what, as in `class Loss(Named[O], what="loss")`.

    Attributes:
        options_class: its options.
        what: what it is, in messages.
    """

    options_class: ClassVar[type[Any]]
    what: ClassVar[str]
    _known: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, *, what: str = "", **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if what:
            cls.what, cls._known = what, {}
        for argument in (inner for origin in cls.__dict__.get("__orig_bases__", ()) for inner in get_args(origin)):
            if isinstance(argument, type) and issubclass(argument, NamedOptions):
                cls.options_class = argument
                cls._known.update(dict.fromkeys(goes_by(argument), cls))

    @classmethod
    def find(cls, name: str) -> type[Self]:
        """Give the class that goes by a name, of those that derive from this one.

        Raises:
            InputError: none does; the nearest names are told.
        """
        known = {other: one for other, one in cls._known.items() if issubclass(one, cls)}
        if name not in known:
            raise InputError(f"unknown {cls.what} {name!r}; {nearest_names(name, known)}")
        return known[name]

    @classmethod
    def names(cls) -> list[str]:
        """Give the names of all that derive from this one, without those that only stand for another."""
        return [name for name, one in cls._known.items() if issubclass(one, cls) and name == one.options_class.name]
