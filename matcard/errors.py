"""The two things matcard says about what it was given: an error that stops, a warning that does not."""

from __future__ import annotations


class InputError(ValueError):
    """Bad usage or bad input.

    The message names the file, row or option, says what was expected and what to do. Commands print it
    without a traceback and exit 2.
    """


class MatcardWarning(UserWarning):
    """Something works but is probably not what is wanted; the message says what to change."""
