"""From the name of a model to its options and its class. A new model is one file and one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, cast

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
    "transformer": Entry(o.TransformerOptions, "transformer:CrystalTransformer"),
    "mlp": Entry(o.MLPOptions, "mlp:MLP"),
    "resnet": Entry(o.ResNetOptions, "resnet:ResNet"),
    "glassnet": Entry(o.GlassNetOptions, "glassnet:GlassNet"),
}
"""Every model: its options class, and `module:class` within this package."""

DEFAULTS = {"crystals": "cgcnn", "compositions": "mlp", "images": "resnet", "table": "mlp"}
"""Kind of data -> the model that is taken where none is named."""


def model_names() -> list[str]:
    """Give the names of all models."""
    return list(MODELS)


def model_options(name: str) -> type[o.ModelOptions]:
    """Give the options class of a model; loads no torch.

    Raises:
        InputError: no such model.
    """
    return _entry(name).options


def default_model(kind: str) -> str:
    """Give the name of the model that is taken for a kind of data where none is named."""
    return DEFAULTS[kind]


def check_model(options: o.ModelOptions, kind: str) -> None:
    """Refuse a model that does not take the kind of data.

    Raises:
        InputError: with the models that do.
    """
    if kind not in options.takes:
        fit = " or ".join(name for name, entry in MODELS.items() if kind in entry.options.takes)
        raise InputError(
            f"--model.name {options.name} takes {', '.join(map(_plural, options.takes))}; for {_plural(kind)} use {fit}"
        )


def build_model(options: o.ModelOptions, *, num_classes: int, **data: Any) -> Classifier:
    """Make a model with new weights; its encoder is frozen if `options.freeze` says so.

    `options.init_from` is not read here, so that a finished run's model can be made without that file: a new run
    calls `matcard.models.initialize` next.

    Args:
        options: of the model.
        num_classes: C, at least 2.
        **data: what else the model must know of its data (`LabelledData.model_arguments`): `input_shape`, `mean` and
            `std` of arrays; nothing, or `atom_table`, of crystals.

    Raises:
        InputError: no such model, or fewer than two classes.
    """
    if num_classes < 2:
        raise InputError(f"a classifier needs at least 2 classes, not {num_classes}")
    module, _, name = _entry(options.name).path.partition(":")
    made = getattr(importlib.import_module(f"matcard.models.{module}"), name)
    model = cast("Classifier", made(options, num_classes, **data))
    if options.freeze:
        model.freeze()
    return model


def _plural(kind: str) -> str:
    return "table rows" if kind == "table" else kind


def _entry(name: str) -> Entry:
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}; {nearest_names(name, MODELS)}")
    return MODELS[name]
