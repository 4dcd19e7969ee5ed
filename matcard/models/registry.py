"""From the name of a model to its options and its class. A new model is one file and one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple, cast

from matcard.errors import InputError, nearest_names
from matcard.models import options as o

if TYPE_CHECKING:
    from matcard.models.base import Classifier


class Entry(NamedTuple):
    """What is known of a model before torch is loaded."""

    options: type[o.ModelOptions]
    path: str


MODELS: dict[str, Entry] = {
    "cgcnn": Entry(o.CGCNNOptions, "cgcnn:CGCNN"),
}
"""Every model: its options class, and `module:class` within this package."""


def model_names() -> list[str]:
    """Give the names of all models."""
    return list(MODELS)


def model_options(name: str) -> type[o.ModelOptions]:
    """Give the options class of a model; loads no torch.

    Raises:
        InputError: no such model; the nearest names are given.
    """
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}; {nearest_names(name, MODELS)}")
    return MODELS[name].options


def build_model(options: o.ModelOptions, *, num_classes: int) -> Classifier:
    """Make a network of a configuration, with new weights."""
    model_options(options.name)
    module, _, attribute = MODELS[options.name].path.partition(":")
    made = getattr(importlib.import_module(f"matcard.models.{module}"), attribute)(options, num_classes)
    return cast("Classifier", made)
