"""From the name of a loss to its options and its class. A new loss is one file and one line here."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from matcard.errors import InputError, nearest_names
from matcard.losses import options as o

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from matcard.losses.base import Loss


class Entry(NamedTuple):
    """What is known of a loss before torch is loaded."""

    options: type[o.LossOptions]
    path: str


LOSSES: dict[str, Entry] = {
    "magnitude": Entry(o.CardinalityOptions, "cardinality:MagnitudeLoss"),
    "spread": Entry(o.CardinalityOptions, "cardinality:SpreadLoss"),
    "cross_entropy": Entry(o.CrossEntropyOptions, "rivals:CrossEntropy"),
    "weighted_cross_entropy": Entry(o.WeightedCrossEntropyOptions, "rivals:WeightedCrossEntropy"),
    "class_balanced": Entry(o.ClassBalancedOptions, "rivals:ClassBalanced"),
    "focal": Entry(o.FocalOptions, "rivals:Focal"),
    "ldam": Entry(o.LDAMOptions, "rivals:LDAM"),
    "balanced_softmax": Entry(o.BalancedSoftmaxOptions, "rivals:BalancedSoftmax"),
    "logit_adjustment": Entry(o.LogitAdjustmentOptions, "rivals:LogitAdjustment"),
    "brier": Entry(o.BrierOptions, "rivals:Brier"),
}
"""Every loss: its options class, and `module:class` within this package."""

ALIASES = {"ce": "cross_entropy"}


def loss_names() -> list[str]:
    """Give the names of all losses, without aliases."""
    return list(LOSSES)


def loss_options(name: str) -> type[o.LossOptions]:
    """Give the options class of a loss; loads no torch.

    Raises:
        InputError: no such loss.
    """
    return _entry(name).options


def make_options(name_or_options: str | o.LossOptions, **options: Any) -> o.LossOptions:
    """Give the checked options of a loss from its name, or change some of those given; loads no torch.

    Raises:
        InputError: unknown name, unknown option, or a value out of range.
    """
    if not isinstance(name_or_options, (str, o.LossOptions)):
        raise InputError(
            f"found {name_or_options!r} in place of a loss: give its name or options, and others by keyword"
        )
    name = name_or_options if isinstance(name_or_options, str) else name_or_options.name
    known = [field.name for field in dataclasses.fields(_entry(name).options) if field.name != "name"]
    for option in options:
        if option not in known:
            raise unknown(f"option of loss {name!r}", option, known)
    if isinstance(name_or_options, str):
        return _entry(name).options(name=ALIASES.get(name, name), **options)
    return dataclasses.replace(name_or_options, **options)


def build_loss(
    name_or_options: str | o.LossOptions,
    *,
    class_counts: Sequence[int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Loss[Any]:
    """Make a loss from its name and options, or from an options object.

    Args:
        name_or_options: a name of `loss_names()`, or an options object.
        class_counts: training samples of each of the C classes, in the order of the logits.
        seed: seeds the mining of triplets and the reservoirs of embeddings, together with the epoch.
        **options: fields of the options class, such as `scale=3.0`.

    Raises:
        InputError: unknown name or option, a value out of range, or counts missing where they are needed.

    Examples:
        >>> build_loss("focal", gamma=1.5).options.gamma
        1.5
    """
    checked = make_options(name_or_options, **options)
    return cast("Loss[Any]", _load(_entry(checked.name).path)(checked, class_counts=class_counts, seed=seed))


def unknown(what: str, name: str, known: Collection[str]) -> InputError:
    """Make the error for a name that is not among those known, with the nearest."""
    return InputError(f"unknown {what} {name!r}; {nearest_names(name, known)}")


def _entry(name: str) -> Entry:
    try:
        return LOSSES[ALIASES.get(name, name)]
    except KeyError:
        raise unknown("loss", name, [*LOSSES, *ALIASES]) from None


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(f"matcard.losses.{module}"), attribute)
