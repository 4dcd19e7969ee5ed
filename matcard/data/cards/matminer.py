"""Urls, checksums and numbers of rows that the installed matminer lists, so that no copy of them can go stale."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from matcard.data.cards.card import Download
from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.data.cards.card import Card


def with_matminer(card: Card, path: Path) -> Card:
    """Give the card with the file and the number of rows that matminer states.

    Raises:
        InputError: an entry that the installed matminer does not have.
    """
    entries = _metadata()
    entry = entries.get(str(card.matminer))
    if entry is None:
        raise InputError(
            f"{path}: key 'matminer': the installed matminer has no data set {card.matminer!r}; "
            f"{nearest_names(str(card.matminer), entries)}"
        )
    file = Download(entry["url"], sha256=entry["hash"], name=f"{card.matminer}.{entry['file_type']}")
    return replace(card, urls=(file,), entries=card.entries or entry["num_entries"])


@cache
def _metadata() -> dict[str, dict[str, Any]]:
    """Read the list without importing matminer's data sets, which takes seconds."""
    text = files("matminer").joinpath("datasets", "dataset_metadata.json").read_text(encoding="utf-8")
    return dict(json.loads(text))
