"""Downloads: every file of a card, checked, in the cache (`fetch`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

if TYPE_CHECKING:
    from matcard.data.downloads.fetcher import fetch as fetch
    from matcard.data.downloads.places import folder_of as folder_of
    from matcard.data.downloads.places import on_disk as on_disk

__getattr__, __dir__, __all__ = attach(__name__, {"fetch": "fetcher", "folder_of": "places", "on_disk": "places"})
