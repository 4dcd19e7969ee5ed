"""Opening files, with one kind of error for whatever is wrong with a whole file."""

from __future__ import annotations

import difflib
import gzip
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 2_000
"""Rows that are read, decoded and checked at a time."""


@contextmanager
def readable(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong while the whole of `path` is read, `errors` included, into an `InputError`."""
    known: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, ValueError, *errors)
    try:
        yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(f"{path} is not UTF-8 text (it holds the byte {byte:#04x}); save it as UTF-8") from error
    except known as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read: {said}; is it complete and of the kind its name says?") from error


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip where its name ends in .gz."""
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def estimate_rows(file: Any, path: Path, rows: int) -> int:
    """Estimate how many rows `path` has from the share of it that `rows` rows took of the open `file`."""
    read: int = getattr(file, "fileobj", file).tell()  # of a gzip file the compressed bytes
    return max(rows, round(rows * path.stat().st_size / max(read, 1)))


def require_file(path: Path) -> None:
    """Say which file was probably meant when there is none at `path`."""
    if path.exists():
        return
    if not path.parent.is_dir():
        raise InputError(f"{path} does not exist, nor does the folder {path.parent}; correct --data.source")
    close = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir()])
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise InputError(f"{path} does not exist; correct --data.source{meant}")
