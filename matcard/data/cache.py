"""Where downloads, generated data and graphs are kept."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import warnings
from pathlib import Path

from matcard.errors import MatcardWarning


def chosen_cache() -> Path:
    """Give the cache folder that is asked for, written to or not: MATCARD_CACHE, or else the user's cache folder."""
    import platformdirs

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
