"""Files that are written whole or not at all and by one process at a time, or read with errors in the user's words."""

from __future__ import annotations

import json
import lzma
import math
import re
import uuid
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 1.0
"""Seconds that a lock is waited for without a word."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it becomes `path` at the end, and vanishes if writing fails.

    A reader, or another process that writes the same, sees the old file or the new one, never half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Let one process at a time make `path`; the others wait, and soon say so by a `MatcardWarning`.

    Args:
        path: what is made, in a folder that exists; the file of the lock stays beside it.
        doing: what the process that has the lock does, for the message, such as "builds the graphs".
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        warnings.warn(
            f"waiting for another process that {doing} (it holds the lock {lock.lock_file})",
            MatcardWarning,
            stacklevel=5,
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def readable(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong while the whole of `path` is read, `errors` included, into an `InputError`."""
    known: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, *errors)
    try:
        yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(f"{path} is not text (it holds the byte {byte:#04x}); save it as UTF-8") from error
    except known as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read: {said}; is it complete and of the kind its name says?") from error


class _Loader(yaml.SafeLoader):
    """Takes for text what YAML 1.2 takes for text (NO, off, 1_000, 007, 2024-05-01), and what PyYAML writes bare."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


for _tag, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": r"<<",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), None)


def read_yaml(path: Path) -> Any:
    """Read a YAML file; what YAML 1.2 takes for text stays text.

    Raises:
        InputError: it cannot be read or is not YAML; the line is named.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error


def to_json(value: Any, path: str | Path) -> None:
    """Write `value` whole as JSON: NaN and infinity as null, numpy numbers and arrays as plain ones."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it does not exist or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file ({error}); it may be damaged: write it again") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # an array or a number of numpy
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def first_free(path: Path) -> Path:
    """Give the path, or the first of path-2, path-3, ... that is not taken."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
