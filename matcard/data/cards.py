"""Data set cards: a YAML file says what a data set is, whence it comes and what it is not good for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from matcard.errors import InputError, nearest_names
from matcard.files import read_yaml
from matcard.resources import resource_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matcard.crystals.table import CrystalTable

CardKind = Literal["crystals", "compositions", "images", "table"]


@dataclass(frozen=True)
class Download:
    """A file that a data set consists of.

    Attributes:
        url: where it is.
        size: bytes.
        sha256: checksum, lower-case hexadecimal; None where the source publishes an md5 only.
        md5: that md5, or None.
    """

    url: str
    size: int
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Card:
    """A data set.

    Attributes:
        name: the card's file name without `.yaml`.
        title: one line.
        kind: what a row is.
        description: what it holds and what it is good for.
        citation: how to cite it.
        licence: its licence; an SPDX identifier where there is one.
        urls: the files to download; none for what is generated.
        format: how the files are laid out; `generated` for what code makes.
        target: column that holds the default target.
        class_counts: rows of each class under the default target, or None while nobody has measured them.
        known_problems: what to know before trusting a result.
        id_column: column that holds the ids; None where the format says it.
        structure_column: column that holds the structures; None where the format says it.
        threshold: class 1 of the default target is at or above this number; None for classes by name.
        bins: ascending edges between classes of the default target; None for classes by name.
    """

    name: str
    title: str
    kind: CardKind
    description: str
    citation: str
    licence: str
    urls: tuple[Download, ...]
    format: str
    target: str
    class_counts: dict[str, int] | None
    known_problems: tuple[str, ...]
    id_column: str | None = None
    structure_column: str | None = None
    threshold: float | None = None
    bins: tuple[float, ...] | None = None

    @property
    def rows(self) -> int | None:
        """The number of rows with a label, where it is known."""
        return None if self.class_counts is None else sum(self.class_counts.values())

    @property
    def imbalance_ratio(self) -> float | None:
        """Rows of the commonest class for each of the rarest, where they are known."""
        return None if self.class_counts is None else max(self.class_counts.values()) / min(self.class_counts.values())


def card_names() -> list[str]:
    """Give the names of the data sets there is a card for."""
    return sorted(path.stem for path in resource_dir("datasets").glob("*.yaml"))


def load_card(name: str) -> Card:
    """Read and check a card by name.

    Raises:
        InputError: no such card (with the nearest names), or one that does not follow the schema.
    """
    names = card_names()
    if name not in names:
        raise InputError(f"there is no data set card {name!r}; {nearest_names(name, names)}")
    return read_card(resource_dir("datasets") / f"{name}.yaml")


def load_table(card: Card) -> CrystalTable:
    """Give the crystals of a card.

    Raises:
        InputError: a card whose crystals this version cannot make.
    """
    from matcard.data.perovskites import perovskite_phases

    generators: dict[str, Callable[[], CrystalTable]] = {"perovskite_phases": perovskite_phases}
    if card.format != "generated" or card.name not in generators:
        raise InputError(
            f"card {card.name}: this version has no reader for its format {card.format!r}; give "
            "the path of its file as --data.source"
        )
    return generators[card.name]()


def read_card(path: Path) -> Card:
    """Read a card from a file and check it against the schema.

    Raises:
        InputError: unreadable file, missing or unknown key, value of the wrong form; file and key named.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping with the keys {', '.join(_SCHEMA)}; found {values!r:.80}")
    _check_keys(path, values, required=_REQUIRED, known=tuple(_SCHEMA))
    for key, value in values.items():
        expected, fits = _SCHEMA[key]
        if not (fits(value) or (value is None and key not in _REQUIRED)):
            raise InputError(f"{path}: key {key!r}: expected {expected}, found {value!r:.80}")
    if values.get("threshold") is not None and values.get("bins") is not None:
        raise InputError(f"{path}: keys 'threshold' and 'bins': a target has one or the other, not both")
    return Card(
        **{
            **values,
            "name": path.stem,
            "urls": tuple(_download(path, i, entry) for i, entry in enumerate(values["urls"])),
            "known_problems": tuple(values["known_problems"]),
            "bins": None if values.get("bins") is None else tuple(map(float, values["bins"])),
        }
    )


def _check_keys(
    where: Path | str, values: dict[Any, Any], *, required: tuple[str, ...], known: tuple[str, ...]
) -> None:
    for key in values:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; {nearest_names(str(key), known)}")
    for key in required:
        if key not in values:
            raise InputError(f"{where}: the key {key!r} is missing")


def _download(path: Path, index: int, entry: Any) -> Download:
    where = f"{path}: urls[{index}]"
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected a mapping with url, size and sha256 (or md5); found {entry!r:.80}")
    _check_keys(where, entry, required=("url", "size"), known=tuple(field.name for field in fields(Download)))
    for key, value in entry.items():
        expected, fits = _DOWNLOAD_SCHEMA[key]
        if not fits(value):
            raise InputError(f"{where}: key {key!r}: expected {expected}, found {value!r:.80}")
    if "sha256" not in entry and "md5" not in entry:
        raise InputError(f"{where}: the key 'sha256' is missing (or 'md5', where the source publishes no other)")
    return Download(**entry)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


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


def _is_hex(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) == length and set(value) <= set("0123456789abcdef")


# Key -> what it must be, in words and as a test. Those in _REQUIRED must be there; the others may be null.
_SCHEMA: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "title": ("a line of text", lambda value: _is_text(value) and "\n" not in value.strip()),
    "kind": (f"one of {', '.join(get_args(CardKind))}", lambda value: value in get_args(CardKind)),
    "description": ("text", _is_text),
    "citation": ("text", _is_text),
    "licence": ("text", _is_text),
    "urls": ("a list (empty for what is generated)", lambda value: isinstance(value, list)),
    "format": ("text", _is_text),
    "target": ("the name of a column", _is_text),
    "class_counts": (
        "two classes or more, each name with a count above 0, or null until it is measured",
        _is_counts,
    ),
    "known_problems": (
        "a list of texts",
        lambda value: isinstance(value, list) and all(map(_is_text, value)),
    ),
    "id_column": ("the name of a column", _is_text),
    "structure_column": ("the name of a column", _is_text),
    "threshold": ("a number", _is_number),
    "bins": ("a list of ascending numbers", _is_edges),
}
_REQUIRED = tuple(_SCHEMA)[:10]
_DOWNLOAD_SCHEMA: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "url": (
        "a text that begins with https:// or http://",
        lambda value: _is_text(value) and value.startswith("http"),
    ),
    "size": ("a number of bytes above 0", _is_count),
    "sha256": ("64 lower-case hexadecimal digits", _is_hex(64)),
    "md5": ("32 lower-case hexadecimal digits", _is_hex(32)),
}
