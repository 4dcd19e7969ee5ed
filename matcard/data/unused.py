"""Options that say nothing of what the source holds: they are named, so that nobody believes them to count."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from matcard.data.kinds import kind_of
from matcard.data.options import DataOptions
from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matcard.data.card import Card
    from matcard.data.options import DataKind

_ROWS: tuple[DataKind, ...] = ("compositions", "table")
_USED_BY: dict[str, tuple[DataKind, ...]] = {
    "test_source": ("images", *_ROWS),
    "features": _ROWS,
    "id_column": ("crystals", *_ROWS),
    "structure_column": ("crystals",),
    "composition_column": ("compositions",),
    "composition_features": ("compositions",),
    "standardise": ("images", *_ROWS),
    "augment": ("images",),
    "graph": ("crystals",),
}
_SAID_BY_CARD = ("id_column", "structure_column")
"""Columns of crystals that a card names; no option goes before it."""
_OF_FILES = ("test_source", "features", "id_column")
"""Nothing of rows that are made by code."""


def tell_unused(options: DataOptions, card: Card | None) -> None:
    """Warn of options that are set and play no part.

    Raises:
        InputError: a test part is named, and such data take none.
    """
    kind = kind_of(options)
    unused = [name for name, kinds in _USED_BY.items() if kind not in kinds]
    if card is not None and kind == "crystals":
        unused += _SAID_BY_CARD
    if card is not None and card.format == "make_classification":
        unused += _OF_FILES
    else:
        unused.append("synthetic")
    _tell(options, unused, f"holds {kind}{' of a card' if card else ''}")


def _tell(options: DataOptions, unused: Iterable[str], source_is: str) -> None:
    default = DataOptions()
    named = [name for name in unused if getattr(options, name) != getattr(default, name)]
    if "test_source" in named:
        raise InputError(
            f"--data.test_source {options.test_source}: only rows, compositions and images of files take a second "
            f"source for testing, and {options.source} {source_is}; join both in one source, with a column for "
            "--data.split.kind column, or measure the other by matcard.evaluate"
        )
    for name in named:
        warnings.warn(
            f"--data.{name} plays no part: {options.source} {source_is}; leave it out",
            MatcardWarning,
            stacklevel=4,
        )
