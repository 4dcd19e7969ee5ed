"""The cards there are, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard.data.cards.schema import read_card
from matcard.errors import InputError, nearest_names
from matcard.resources import resource_dir

if TYPE_CHECKING:
    from matcard.data.cards.card import Card


def card_names() -> list[str]:
    """Give the names of the data sets there is a card for."""
    return sorted(path.stem for path in resource_dir("datasets").glob("*.yaml"))


def load_card(name: str) -> Card:
    """Read and check a card by name.

    Raises:
        InputError: no such card (with the nearest names), or one that does not follow the schema.
    """
    names = card_names()
    if name not in names:
        raise InputError(f"there is no data set card {name!r}; {nearest_names(name, names)}")
    return read_card(resource_dir("datasets") / f"{name}.yaml")
