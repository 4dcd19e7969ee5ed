"""Data set cards: what a YAML file says of a data set, and a check of every key of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import unquote, urlsplit

from matcard.data.options import DataKind
from matcard.errors import InputError, nearest_names
from matcard.files import read_yaml
from matcard.resources import resource_dir

FORMATS: dict[str, dict[str, str]] = {
    "crystals": {
        "generated": "made by matcard",
        "matminer": "matminer's json.gz of pymatgen structures",
        "table": "a file that --data.source takes",
        "3dsc": "the repository of 3DSC as tar.gz: a CSV and CIF files",
        "materials-project": "a query of the Materials Project, frozen to parquet",
    },
    "compositions": {
        "matminer": "matminer's json.gz with a column of formulas",
        "csv": "CSV files, one a part, with a column an ingredient",
    },
    "images": {
        "digits": "the 8 x 8 digits of scikit-learn",
        "idx": "the four idx files of MNIST",
        "cifar": "the archive of CIFAR for Python",
    },
    "table": {"make_classification": "sklearn.datasets.make_classification with `parameters`"},
}
"""Kind -> format -> how the files are laid out."""

MADE_BY_CODE = ("generated", "digits", "make_classification")
"""Formats for which there is nothing to download."""


class Must(NamedTuple):
    """What a value of a card must be, in words and as a test; it stands beside the type of the value."""

    be: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_texts(value: Any) -> bool:
    return _is_list(value) and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value))


def _is_counts(value: Any) -> bool:
    return _is_named(value) and len(value) > 1 and all(map(_is_count, value.values()))


def _is_edges(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(map(_is_number, value))
        and all(low < high for low, high in pairwise(value))
    )


def _is_url(value: Any) -> bool:
    return _is_text(value) and value.startswith(("http://", "https://"))


def _is_urls(value: Any) -> bool:
    return _is_list(value) and all(map(_is_url, value))


def _is_file_name(value: Any) -> bool:
    return _is_text(value) and value not in (".", "..") and not set(value) & set("/\\:")


def _hex(digits: int) -> Must:
    return Must(
        f"{digits} lower-case hexadecimal digits",
        lambda value: isinstance(value, str) and len(value) == digits and set(value) <= set("0123456789abcdef"),
    )


def _one_of(names: tuple[str, ...]) -> Must:
    return Must(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


Text = Annotated[str, Must("text", _is_text)]
Line = Annotated[str, Must("a line of text", lambda value: _is_text(value) and "\n" not in value.strip())]
Column = Annotated[str, Must("the name of a column", _is_text)]
Texts = Annotated[tuple[str, ...], Must("a list of texts", _is_texts)]
SomeTexts = Annotated[tuple[str, ...], Must("a list of texts", lambda value: _is_texts(value) and len(value) > 0)]
Counts = Annotated[
    dict[str, int],
    Must("two classes or more, each name with a count above 0, or null until it is measured", _is_counts),
]
Number = Annotated[float, Must("a number", _is_number)]
Named = Annotated[Mapping[str, Any], Must("a mapping of names to values", _is_named)]
Url = Annotated[str, Must("a text that begins with https:// or http://", _is_url)]


@dataclass(frozen=True)
class Download:
    """A file that a data set consists of.

    Attributes:
        url: where it is.
        size: bytes; None where the source does not say.
        sha256: checksum, lower-case hexadecimal; None where the source publishes none: it is then measured at the
            first fetch and checked ever after.
        md5: the md5 that the source publishes, or None.
        mirrors: other places of the same file, tried in this order.
        name: what the file is called on disk; None for the last part of the url.
        part: the part of the data set that it holds (`train`, `validation`, `test`), where its makers divided it.
    """

    url: Url
    size: Annotated[int, Must("a number of bytes above 0", _is_count)] | None = None
    sha256: Annotated[str, _hex(64)] | None = None
    md5: Annotated[str, _hex(32)] | None = None
    mirrors: Annotated[tuple[str, ...], Must("a list of texts that begin with https:// or http://", _is_urls)] = ()
    name: Annotated[str, Must("the name of a file, without a folder", _is_file_name)] | None = None
    part: Annotated[str, _one_of(("train", "validation", "test"))] | None = None

    @property
    def file_name(self) -> str:
        """What the file is called on disk."""
        return self.name or PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def checksums(self) -> dict[str, str]:
        """Published checksums by algorithm."""
        published = {"sha256": self.sha256, "md5": self.md5}
        return {algorithm: checksum for algorithm, checksum in published.items() if checksum is not None}


@dataclass(frozen=True)
class Window:
    """A target that asks whether a number lies between two others, both included."""

    column: Column
    low: Number
    high: Number


@dataclass(frozen=True)
class Query:
    """What is asked of a database that grows: the fields of each entry, and filters on the entries."""

    fields: SomeTexts
    filters: Named


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
        urls: the files to download; none for what is generated or asked of a database.
        format: how the files are laid out, one of `FORMATS[kind]`.
        target: column that holds the default target.
        class_counts: rows of each class under the default target, or None while nobody has measured them.
        known_problems: what to know before trusting a result.
        matminer: entry of matminer's list of data sets that `urls` and `entries` were read from.
        entries: rows of the source, where it says.
        id_column: column that holds the ids; None where the format says it.
        structure_column: column that holds the structures; None where the format says it.
        composition_column: column that holds chemical formulas.
        feature_columns: columns that describe a row by numbers, where no formula does.
        threshold: class 1 of the default target is at or above this number; None for classes by name.
        bins: ascending edges between classes of the default target; None for classes by name.
        window: the default target is whether another column lies in this window.
        class_names: names of the classes 0, 1, ..., where the files hold numbers only.
        labels: which labels of the files are the target, where they hold several.
        query: what is asked of a database.
        parameters: arguments of the function that makes the data.
    """

    name: str
    title: Line
    kind: Annotated[DataKind, _one_of(get_args(DataKind))]
    description: Text
    citation: Text
    licence: Text
    urls: Annotated[tuple[Download, ...], Must("a list (empty for what is generated)", _is_list)]
    format: Text
    target: Column
    class_counts: Counts | None
    known_problems: Texts
    matminer: Annotated[str, Must("the name of a data set of matminer", _is_text)] | None = None
    entries: Annotated[int, Must("a number of rows above 0", _is_count)] | None = None
    id_column: Column | None = None
    structure_column: Column | None = None
    composition_column: Column | None = None
    feature_columns: Annotated[tuple[str, ...], Must("a list of names of columns", _is_texts)] = ()
    threshold: Number | None = None
    bins: Annotated[tuple[float, ...], Must("a list of ascending numbers", _is_edges)] | None = None
    window: Annotated[Window, Must("a mapping with column, low and high", _is_named)] | None = None
    class_names: Texts = ()
    labels: Text | None = None
    query: Annotated[Query, Must("a mapping with fields and filters", _is_named)] | None = None
    parameters: Named = field(default_factory=dict)

    @property
    def made_by_code(self) -> bool:
        """Whether there is nothing to download."""
        return self.format in MADE_BY_CODE

    @property
    def rows(self) -> int | None:
        """The number of rows with a label, or that the source states, where it is known."""
        return self.entries if self.class_counts is None else sum(self.class_counts.values())

    @property
    def num_classes(self) -> int | None:
        """The number of classes of the default target, where it is known without the data."""
        if self.class_counts is not None:
            return len(self.class_counts)
        if self.bins is not None:
            return len(self.bins) + 1
        return 2 if self.threshold is not None or self.window is not None else len(self.class_names) or None

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


def read_card(path: Path) -> Card:
    """Read a card from a file and check it.

    Raises:
        InputError: unreadable file, missing or unknown key, value of the wrong form, keys that contradict each other;
            file and key named.
    """
    card: Card = _made(Card, read_yaml(path), str(path), name=path.stem)
    formats = FORMATS[card.kind]
    if card.format not in formats:
        raise InputError(f"{path}: key 'format': {card.kind} come as {', '.join(formats)}; found {card.format!r}")
    ways = [key for key in ("threshold", "bins", "window") if getattr(card, key) is not None]
    if len(ways) > 1:
        raise InputError(f"{path}: keys {' and '.join(map(repr, ways))}: a target has one of them, not both")
    if (card.format == "materials-project") != (card.query is not None):
        raise InputError(f"{path}: key 'query': the format materials-project has one, and no other")
    if card.window is not None and not card.window.low < card.window.high:
        raise InputError(
            f"{path}: key 'window': low is {card.window.low:g} and high {card.window.high:g}; exchange them"
        )
    if card.class_names and card.class_counts and set(card.class_names) != set(card.class_counts):
        raise InputError(f"{path}: keys 'class_names' and 'class_counts': they name different classes")
    if card.matminer is not None:
        card = _with_matminer(card, path)
    _check_files(path, card)
    return card


def _made(kind: Any, values: Any, where: str, **given: Any) -> Any:
    """Make a dataclass of a mapping, each value checked by the `Must` beside its type and lists become tuples.

    Args:
        kind: the dataclass; a field without a `Must` is no key.
        values: what was read.
        where: how the mapping is called in messages.
        **given: the fields that are no keys.
    """
    rules = _rules(kind)
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a mapping with the keys {', '.join(rules)}; found {values!r:.80}")
    for key in values:
        if key not in rules:
            raise InputError(f"{where}: unknown key {key!r}; {nearest_names(str(key), rules)}")
    made = {}
    for key, rule in rules.items():
        if key not in values:
            if rule.required:
                raise InputError(f"{where}: the key {key!r} is missing")
            continue
        value = values[key]
        if value is None and rule.nullable:
            if not rule.required:
                continue  # the default
        elif not rule.must.fits(value):
            raise InputError(f"{where}: key {key!r}: expected {rule.must.be}, found {value!r:.80}")
        elif is_dataclass(rule.holds):
            value = _made(rule.holds, value, f"{where}: {key}")
        elif isinstance(value, list):
            item = get_args(rule.holds)[0]
            if is_dataclass(item):
                value = [_made(item, entry, f"{where}: {key}[{i}]") for i, entry in enumerate(value)]
            value = tuple(value)
        made[key] = value
    return kind(**made, **given)


class _Rule(NamedTuple):
    """What a key must be, the type that it has in the dataclass, whether it must be there and may be null."""

    must: Must
    holds: Any
    required: bool
    nullable: bool


@cache
def _rules(kind: Any) -> dict[str, _Rule]:
    hints = get_type_hints(kind, include_extras=True)
    rules = {}
    for part in fields(kind):
        hint = hints[part.name]
        optional = [option for option in get_args(hint) if get_origin(option) is Annotated]
        if optional or get_origin(hint) is Annotated:
            holds, must = get_args(optional[0] if optional else hint)
            required = part.default is MISSING and part.default_factory is MISSING
            rules[part.name] = _Rule(must, holds, required, nullable=bool(optional) or not required)
    return rules


def _check_files(path: Path, card: Card) -> None:
    names = [download.file_name for download in card.urls]
    if "" in names:
        raise InputError(f"{path}: urls[{names.index('')}]: the url ends without the name of a file: give its 'name'")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: key 'urls': two files are called {twice!r}: give one of them another 'name'")
    if bool(names) == (card.made_by_code or card.query is not None):
        what = "takes no files" if names else "needs files"
        raise InputError(f"{path}: key 'urls': the format {card.format} {what}")


def _with_matminer(card: Card, path: Path) -> Card:
    """Give the card with the file and the number of rows that the installed matminer states; no copy can go stale."""
    if card.urls:
        raise InputError(f"{path}: keys 'matminer' and 'urls': matminer's list gives the urls; leave 'urls' empty")
    entries = _matminer_entries()
    entry = entries.get(str(card.matminer))
    if entry is None:
        raise InputError(
            f"{path}: key 'matminer': the installed matminer has no data set {card.matminer!r}; "
            f"{nearest_names(str(card.matminer), entries)}"
        )
    file = Download(entry["url"], sha256=entry["hash"], name=f"{card.matminer}.{entry['file_type']}")
    return replace(card, urls=(file,), entries=card.entries or entry["num_entries"])


@cache
def _matminer_entries() -> dict[str, dict[str, Any]]:
    """Read matminer's list of data sets without importing them, which takes seconds."""
    text = files("matminer").joinpath("datasets", "dataset_metadata.json").read_text(encoding="utf-8")
    return dict(json.loads(text))
