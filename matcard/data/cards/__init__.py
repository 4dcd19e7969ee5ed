"""Data set cards: a YAML file says what a data set is, whence it comes and what it is not good for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

if TYPE_CHECKING:
    from matcard.data.cards.card import Card as Card
    from matcard.data.cards.card import Download as Download
    from matcard.data.cards.names import card_names as card_names
    from matcard.data.cards.names import load_card as load_card
    from matcard.data.cards.read import load_frame as load_frame
    from matcard.data.cards.read import load_table as load_table
    from matcard.data.cards.schema import read_card as read_card

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Card": "card",
        "Download": "card",
        "card_names": "names",
        "load_card": "names",
        "load_frame": "read",
        "load_table": "read",
        "read_card": "schema",
    },
)
