"""The files of a card in the cache: where they are, which are there, and what was counted in them."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from matcard.cache import chosen_cache
from matcard.errors import MatcardWarning
from matcard.files import written_whole

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.data.card import Card


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


def known_counts(card: Card) -> dict[str, int] | None:
    """Give the rows of each class under the default target: measured, stated by the card, or None."""
    try:
        kept = json.loads(_counts_file(card).read_text(encoding="utf-8"))
        if kept["target"] == _target(card):
            return {str(name): int(count) for name, count in kept["counts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return card.class_counts


def keep_counts(card: Card, counts: dict[str, int]) -> None:
    """Keep the rows of each class beside the files that they were counted in."""
    path = _counts_file(card)
    try:
        with written_whole(path) as beside:
            beside.write_text(json.dumps({"target": _target(card), "counts": counts}, indent=1), encoding="utf-8")
    except OSError as error:
        warnings.warn(f"the counts are not kept in {path} ({error.strerror})", MatcardWarning, stacklevel=3)


def _counts_file(card: Card) -> Path:
    return folder_of(card) / "class_counts.json"


def _target(card: Card) -> dict[str, Any]:
    """What the counts depend on."""
    return {
        "target": card.target,
        "threshold": card.threshold,
        "bins": None if card.bins is None else list(card.bins),
        "window": None if card.window is None else asdict(card.window),
    }
