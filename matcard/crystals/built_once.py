"""What is built once for all processes that want it, and found again under its key."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, TypeVar

from matcard.crystals.arrays import DamagedStoreError
from matcard.errors import InputError, MatcardWarning
from matcard.files import locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


def built_once(target: Path, what: str, read: Callable[[], T], build: Callable[[], None]) -> T:
    """Read what is in the folder `target`; build it first if it is not there, or damaged (with a warning).

    Of several processes that call this at once one builds; the others wait, and say so.

    Args:
        target: folder of the result, named by a key of its content.
        what: what is built, for messages.
        read: gives it; raises FileNotFoundError or `DamagedStoreError`.
        build: makes `target`.

    Raises:
        InputError: when the cache cannot be written.
    """
    try:
        return read()
    except (FileNotFoundError, DamagedStoreError):
        pass  # Another process may be mending it: look again once it is our turn.
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target, f"builds {what}"):
            return _read_or_build(target, what, read, build)
    except OSError as error:
        raise InputError(
            f"the cache folder {target.parent} cannot be used ({error}); make room in it, or choose another by "
            "setting MATCARD_CACHE"
        ) from error


def _read_or_build(target: Path, what: str, read: Callable[[], T], build: Callable[[], None]) -> T:
    try:
        return read()
    except FileNotFoundError:
        pass
    except DamagedStoreError as error:
        warnings.warn(f"{error}; {what} are built again", MatcardWarning, stacklevel=4)
        shutil.rmtree(target)
    build()
    return read()
