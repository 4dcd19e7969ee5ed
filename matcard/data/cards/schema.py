"""From a YAML file to a card: every key is checked, and what is wrong is named."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from matcard.data.cards.card import FORMATS, Card, Download, Query, Window
from matcard.data.options import DataKind
from matcard.errors import InputError, nearest_names
from matcard.files import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Key(NamedTuple):
    """What a value must be, in words and as a test; one that is not required may be missing or null."""

    expected: str
    fits: Callable[[Any], bool]
    required: bool = False


def read_card(path: Path) -> Card:
    """Read a card from a file and check it against the schema.

    Raises:
        InputError: unreadable file, missing or unknown key, value of the wrong form; file and key named.
    """
    values = _checked(str(path), read_yaml(path), _CARD)
    formats = FORMATS[values["kind"]]
    if values["format"] not in formats:
        raise InputError(
            f"{path}: key 'format': {values['kind']} come as {', '.join(formats)}; found {values['format']!r}"
        )
    _refuse_contradictions(path, values)
    nested = {
        "urls": tuple(_download(f"{path}: urls[{i}]", entry) for i, entry in enumerate(values["urls"])),
        "window": _nested(path, values, "window", _WINDOW, Window),
        "query": _nested(path, values, "query", _QUERY, Query),
    }
    card = Card(**{**_tuples(values), **nested, "name": path.stem})
    if card.matminer is not None:
        from matcard.data.cards.matminer import with_matminer

        card = with_matminer(card, path)
    _refuse_what_cannot_be_used(path, card)
    return card


def _checked(where: str, values: Any, schema: dict[str, Key]) -> dict[str, Any]:
    """Give the keys that are not null; raise where one is unknown, missing or of the wrong form."""
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a mapping with the keys {', '.join(schema)}; found {values!r:.80}")
    for key in values:
        if key not in schema:
            raise InputError(f"{where}: unknown key {key!r}; {nearest_names(str(key), schema)}")
    for key, (expected, fits, required) in schema.items():
        if key not in values:
            if required:
                raise InputError(f"{where}: the key {key!r} is missing")
        elif not (fits(values[key]) or (values[key] is None and not required)):
            raise InputError(f"{where}: key {key!r}: expected {expected}, found {values[key]!r:.80}")
    return {key: value for key, value in values.items() if value is not None or schema[key].required}


def _refuse_contradictions(path: Path, values: dict[str, Any]) -> None:
    ways = [key for key in ("threshold", "bins", "window") if key in values]
    if len(ways) > 1:
        raise InputError(f"{path}: keys {' and '.join(map(repr, ways))}: a target has one of them, not both")
    if "matminer" in values and values["urls"]:
        raise InputError(f"{path}: keys 'matminer' and 'urls': matminer's list gives the urls; leave 'urls' empty")
    if (values["format"] == "materials-project") != ("query" in values):
        raise InputError(f"{path}: key 'query': the format materials-project has one, and no other")


def _refuse_what_cannot_be_used(path: Path, card: Card) -> None:
    names = [download.file_name for download in card.urls]
    if "" in names:
        raise InputError(f"{path}: urls[{names.index('')}]: the url ends without the name of a file: give its 'name'")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: key 'urls': two files are called {twice!r}: give one of them another 'name'")
    if bool(names) == (card.made_by_code or card.query is not None):
        what = "takes no files" if names else "needs files"
        raise InputError(f"{path}: key 'urls': the format {card.format} {what}")
    if card.window is not None and not card.window.low < card.window.high:
        raise InputError(
            f"{path}: key 'window': low is {card.window.low:g} and high {card.window.high:g}; exchange them"
        )
    if card.class_names and card.class_counts and set(card.class_names) != set(card.class_counts):
        raise InputError(f"{path}: keys 'class_names' and 'class_counts': they name different classes")


def _download(where: str, entry: Any) -> Download:
    values = _checked(where, entry, _DOWNLOAD)
    return Download(**_tuples(values))


def _nested(path: Path, values: dict[str, Any], key: str, schema: dict[str, Key], kind: Callable[..., Any]) -> Any:
    return kind(**_tuples(_checked(f"{path}: {key}", values[key], schema))) if key in values else None


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_edges(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(map(_is_number, value))
        and all(low < high for low, high in pairwise(value))
    )


def _is_counts(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict) and len(value) > 1 and all(map(_is_text, value)) and all(map(_is_count, value.values()))
    )


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value))


def _is_url(value: Any) -> bool:
    return _is_text(value) and value.startswith(("http://", "https://"))


def _is_file_name(value: Any) -> bool:
    return _is_text(value) and value not in (".", "..") and not set(value) & set("/\\:")


def _is_hex(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) == length and set(value) <= set("0123456789abcdef")


_COLUMN = "the name of a column"

_CARD = {
    "title": Key("a line of text", lambda value: _is_text(value) and "\n" not in value.strip(), required=True),
    "kind": Key(
        f"one of {', '.join(get_args(DataKind))}",
        lambda value: isinstance(value, str) and value in get_args(DataKind),
        required=True,
    ),
    "description": Key("text", _is_text, required=True),
    "citation": Key("text", _is_text, required=True),
    "licence": Key("text", _is_text, required=True),
    "urls": Key("a list (empty for what is generated)", lambda value: isinstance(value, list), required=True),
    "format": Key("text", _is_text, required=True),
    "target": Key(_COLUMN, _is_text, required=True),
    "class_counts": Key(
        "two classes or more, each name with a count above 0, or null until it is measured", _is_counts, required=True
    ),
    "known_problems": Key("a list of texts", _is_texts, required=True),
    "matminer": Key("the name of a data set of matminer", _is_text),
    "entries": Key("a number of rows above 0", _is_count),
    "id_column": Key(_COLUMN, _is_text),
    "structure_column": Key(_COLUMN, _is_text),
    "composition_column": Key(_COLUMN, _is_text),
    "feature_columns": Key("a list of names of columns", _is_texts),
    "threshold": Key("a number", _is_number),
    "bins": Key("a list of ascending numbers", _is_edges),
    "window": Key("a mapping with column, low and high", _is_named),
    "class_names": Key("a list of texts", _is_texts),
    "labels": Key("text", _is_text),
    "query": Key("a mapping with fields and filters", _is_named),
    "parameters": Key("a mapping of names to values", _is_named),
}
_DOWNLOAD = {
    "url": Key("a text that begins with https:// or http://", _is_url, required=True),
    "size": Key("a number of bytes above 0", _is_count),
    "sha256": Key("64 lower-case hexadecimal digits", _is_hex(64)),
    "md5": Key("32 lower-case hexadecimal digits", _is_hex(32)),
    "mirrors": Key(
        "a list of texts that begin with https:// or http://",
        lambda value: isinstance(value, list) and all(map(_is_url, value)),
    ),
    "name": Key("the name of a file, without a folder", _is_file_name),
    "part": Key("one of train, validation, test", lambda value: value in ("train", "validation", "test")),
}
_WINDOW = {
    "column": Key(_COLUMN, _is_text, required=True),
    "low": Key("a number", _is_number, required=True),
    "high": Key("a number", _is_number, required=True),
}
_QUERY = {
    "fields": Key("a list of texts", lambda value: _is_texts(value) and len(value) > 0, required=True),
    "filters": Key("a mapping of names to values", _is_named, required=True),
}
