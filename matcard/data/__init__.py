"""Data sets: cards, the embedded perovskites, groups and splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

if TYPE_CHECKING:
    from matcard.data.cache import cache_dir as cache_dir
    from matcard.data.cards import Card as Card
    from matcard.data.cards import card_names as card_names
    from matcard.data.cards import load_card as load_card
    from matcard.data.cards import load_frame as load_frame
    from matcard.data.cards import load_table as load_table
    from matcard.data.downloads import fetch as fetch
    from matcard.data.groups import group_keys as group_keys
    from matcard.data.perovskites import perovskite_phases as perovskite_phases
    from matcard.data.splits import Split as Split
    from matcard.data.splits import make_split as make_split
    from matcard.data.splits import split_table as split_table

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Card": "cards",
        "Split": "splits",
        "cache_dir": "cache",
        "card_names": "cards",
        "fetch": "downloads",
        "group_keys": "groups",
        "load_card": "cards",
        "load_frame": "cards",
        "load_table": "cards",
        "make_split": "splits",
        "perovskite_phases": "perovskites",
        "split_table": "splits",
    },
)
