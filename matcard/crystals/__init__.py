"""Crystals: a source of any kind -> arrays, each row with its structure or what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Crystals": "crystals",
        "from_objects": "read",
        "read_crystals": "read",
    },
)

if TYPE_CHECKING:
    from matcard.crystals.crystals import Crystals as Crystals
    from matcard.crystals.read import from_objects as from_objects
    from matcard.crystals.read import read_crystals as read_crystals
