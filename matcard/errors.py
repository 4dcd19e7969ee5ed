"""The two things matcard says about what it was given: an error that stops, a warning that does not."""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class InputError(ValueError):
    """Bad usage or bad input.

    The message names the file, row or option, says what was expected and what to do. Commands print it
    without a traceback and exit 2.
    """


class StructureError(ValueError):
    """One row's structure cannot be used; the message says why and what to do. It becomes the fault of the row."""


class MatcardWarning(UserWarning):
    """Something works but is probably not what is wanted; the message says what to change."""


class TrainingError(RuntimeError):
    """Training could not go on (a loss that is not finite, say); commands print the message and exit 1."""


@contextmanager
def concerning(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Say what a message is about.

    Raises:
        InputError: the block's, or one made of other errors that are named, with `what` before its message.
    """
    known: tuple[type[Exception], ...] = (InputError, *errors)
    try:
        yield
    except known as error:
        raise InputError(f"{what}: {error}") from error


_FEW = 30
"""Names that a message lists at most."""


def nearest_names(name: str, names: Iterable[str]) -> str:
    """Say which of `names` is probably meant by `name`, and list them, for the end of an error message."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(close)}?" if close else ""
    shown = f"there are: {listed(known) or 'none'}" if not close or len(known) <= _FEW else ""
    return " ".join(filter(None, (meant, shown)))


def listed(names: Iterable[object], most: int = _FEW) -> str:
    """List names between commas; of more than `most` the first, and how many there are beside."""
    known = list(map(str, names))
    rest = len(known) - most
    return ", ".join(known[:most] if rest > 0 else known) + (f" and {rest} more" if rest > 0 else "")
