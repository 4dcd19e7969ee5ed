"""Options of the parts of a training as parameters of scikit-learn, such as `loss__base__gamma`."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from matcard.errors import InputError, nearest_names
from matcard.evaluation.decision import DecisionOptions
from matcard.graphs.neighbors import GraphOptions
from matcard.losses import LossOptions, make_options
from matcard.models import Classifier, ModelOptions
from matcard.training.options import Config, OptimizerOptions, TrainerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PARTS: dict[str, tuple[type[Any], Callable[[str], Any] | None]] = {
    "loss": (LossOptions, make_options),
    "model": (ModelOptions, lambda name: Classifier.find(name).options_class()),
    "optimizer": (OptimizerOptions, lambda name: OptimizerOptions(name=name)),  # type: ignore[arg-type]
    "trainer": (TrainerOptions, None),
    "decision": (DecisionOptions, lambda rule: DecisionOptions(rule=rule)),  # type: ignore[arg-type]
    "graph": (GraphOptions, None),
}
"""Parameters that hold options: the class of these, and what makes them of a plain name."""


def part_options(part: str, given: Any) -> Any:
    """Give the options of a part: those given, those of a name, or the defaults of `matcard.train`."""
    kind, by_name = PARTS[part]
    if given is None:
        return Config().data.graph if part == "graph" else getattr(Config(), part)
    options = by_name(given) if by_name is not None and isinstance(given, str) else given
    if not isinstance(options, kind):
        names = "its name or " * (by_name is not None)
        raise InputError(f"{part} is {given!r}: {names}an object of {kind.__name__} was expected")
    return options


def flat(prefix: str, options: Any) -> dict[str, Any]:
    """Give options by their names as parameters, those within them, too."""
    found = {}
    for field in fields(options):
        name, value = f"{prefix}__{field.name}", getattr(options, field.name)
        found[name] = value
        if is_dataclass(value):
            found |= flat(name, value)
    return found


def changed(options: Any, changes: Mapping[str, Any], prefix: str) -> Any:
    """Give options of which some are changed together; `base__gamma` is `gamma` within `base`."""
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        option, deeper, rest = name.partition("__")
        before = getattr(options, option, None)
        if option not in {field.name for field in fields(options)} or (deeper and not is_dataclass(before)):
            known = [name.removeprefix(f"{prefix}__") for name in flat(prefix, options)]
            raise InputError(f"no parameter {prefix}__{name} of {options!r}; {nearest_names(name, known)}")
        if deeper:
            inner.setdefault(option, {})[rest] = value
        else:
            own[option] = make_options(value) if isinstance(before, LossOptions) and isinstance(value, str) else value
    for option, some in inner.items():
        own[option] = changed(own.get(option, getattr(options, option)), some, f"{prefix}__{option}")
    return replace(options, **own)
