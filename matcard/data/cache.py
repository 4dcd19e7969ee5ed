"""Where downloads, generated data and graphs are kept, and what of a card is there."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from matcard.errors import MatcardWarning
from matcard.files import written_whole

if TYPE_CHECKING:
    from matcard.data.card import Card


def chosen_cache() -> Path:
    """Give the cache folder that is asked for, written to or not: MATCARD_CACHE, or else the user's cache folder."""
    return Path(os.environ.get("MATCARD_CACHE") or platformdirs.user_cache_dir("matcard"))


def cache_dir() -> Path:
    """Give the cache folder, made if need be: MATCARD_CACHE, or else the user's cache folder for matcard.

    Where it cannot be written, a warning says so and a temporary folder, removed at exit, takes its place:
    nothing is kept from one run to the next, and all else works.
    """
    folder = chosen_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        temporary = _temporary(folder)
        warnings.warn(
            f"the cache {folder} cannot be written ({error.strerror or error}), so nothing is kept for the "
            "next run; name another folder in MATCARD_CACHE",
            MatcardWarning,
            stacklevel=2,
        )
        return temporary


@functools.cache
def _temporary(replaced: Path) -> Path:
    """One temporary folder a process for each cache that cannot be written."""
    folder = Path(tempfile.mkdtemp(prefix="matcard-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


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
