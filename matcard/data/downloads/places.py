"""Where the files of a card lie, and where they can be had."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.data.cache import chosen_cache
from matcard.errors import InputError

if TYPE_CHECKING:
    from matcard.data.cards.card import Card, Download

MIRROR = "MATCARD_MIRROR"
"""Environment variable: a folder or url that is looked in first, as `<card>/<file>` or `<file>`."""


def folder_of(card: Card) -> Path:
    """Give the folder of a card's files in the cache; it need not exist."""
    return chosen_cache() / "downloads" / card.name


def file_names(card: Card) -> list[str]:
    """Give the names of a card's files in its folder."""
    if card.query is not None:
        return [f"{card.name}.parquet"]
    return [download.file_name for download in card.urls]


def on_disk(card: Card) -> tuple[int, int]:
    """Count the files of a card that lie in the cache (whether they are sound shows when they are used), and all."""
    names = file_names(card)
    return sum((folder_of(card) / name).is_file() for name in names), len(names)


def sources_of(card: Card, download: Download) -> list[str]:
    """Give the urls and paths of a file in the order they are tried: MATCARD_MIRROR, its url, its mirrors.

    Raises:
        InputError: MATCARD_MIRROR is neither a url nor a folder.
    """
    return [*_in_mirror(card, download), download.url, *download.mirrors]


def is_url(source: str) -> bool:
    """Tell a url from a path."""
    return source.startswith(("http://", "https://"))


def _in_mirror(card: Card, download: Download) -> list[str]:
    mirror = os.environ.get(MIRROR, "")
    names = (f"{card.name}/{download.file_name}", download.file_name)
    if not mirror or is_url(mirror):
        return [f"{mirror.rstrip('/')}/{name}" for name in names if mirror]
    folder = Path(mirror).expanduser()
    if not folder.is_dir():
        raise InputError(f"{MIRROR} is {mirror!r}: expected a url, or a folder that exists")
    return [str(folder / name) for name in names if (folder / name).is_file()]
