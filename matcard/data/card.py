"""Data set cards: what a YAML file says of a data set, each key checked by its type, and where its files are kept."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import unquote, urlsplit

from matcard.cache import cache_dir
from matcard.data.options import DataKind  # noqa: TC001  (types are read as rules)
from matcard.errors import InputError, MatcardWarning, nearest_names
from matcard.files import read_json, read_yaml, resource_dir, to_json
from matcard.options import AtLeastOne, Choices, Within

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


@dataclass(frozen=True)
class Must:
    """What a value must be beside its type, in words and as a test; other rules are those of `matcard.options`."""

    be: str
    fits: Callable[[Any], bool]

    def __contains__(self, value: Any) -> bool:
        return self.fits(value)

    def __str__(self) -> str:
        return self.be


def _matching(pattern: str, be: str) -> Must:
    return Must(be, lambda text: re.fullmatch(pattern, text, re.DOTALL) is not None)


_SOME = Must("one at least", lambda values: len(values) > 0)
_TWO = Must("of two classes or more", lambda counts: len(counts) > 1)
_ASCENDING = Must("ascending, one at least", lambda edges: edges and all(low < high for low, high in pairwise(edges)))
_ENDS = Must("two, the lower one first", lambda ends: len(ends) == 2 and ends[0] < ends[1])
_URL = _matching("https?://.+", "a text that begins with https:// or http://")
Number = Annotated[float, Within(-float("inf"), ends="()")]


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
        part: the part of the data set that it holds, where its makers divided it.
    """

    url: Annotated[str, _URL]
    size: AtLeastOne | None = None
    sha256: Annotated[str, _matching("[0-9a-f]{64}", "64 lower-case hexadecimal digits")] | None = None
    md5: Annotated[str, _matching("[0-9a-f]{32}", "32 lower-case hexadecimal digits")] | None = None
    mirrors: tuple[Annotated[str, _URL], ...] = ()
    name: Annotated[str, _matching(r"(?!\.\.?$)[^/\\:]+", "the name of a file, without a folder")] | None = None
    part: Literal["train", "validation", "test"] | None = None

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
class Query:
    """What is asked of a database that grows: the fields of each entry, and filters on the entries."""

    fields: Annotated[tuple[str, ...], _SOME]
    filters: Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """A data set. The type of a field is the rule for its key; one without a default must be there.

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
        window: class 1 of the default target is between these two numbers, both included; None for classes by name.
        class_names: names of the classes 0, 1, ..., where the files hold numbers only.
        query: what is asked of a database.
        parameters: arguments of the function that makes the data.
    """

    name: str
    title: Annotated[str, Must("a line of text", lambda text: "\n" not in text.strip())]
    kind: DataKind
    description: str
    citation: str
    licence: str
    urls: tuple[Download, ...]
    format: str
    target: str
    class_counts: Annotated[dict[str, AtLeastOne], _TWO] | None
    known_problems: tuple[str, ...]
    matminer: str | None = None
    entries: AtLeastOne | None = None
    id_column: str | None = None
    structure_column: str | None = None
    composition_column: str | None = None
    feature_columns: tuple[str, ...] = ()
    threshold: Number | None = None
    bins: Annotated[tuple[Number, ...], _ASCENDING] | None = None
    window: Annotated[tuple[Number, ...], _ENDS] | None = None
    class_names: tuple[str, ...] = ()
    query: Query | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

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
    def folder(self) -> Path:
        """The folder of the card's files in the cache; it need not exist."""
        return cache_dir() / "downloads" / self.name

    @property
    def file_names(self) -> list[str]:
        """The names of the card's files in its folder."""
        return [f"{self.name}.parquet"] if self.query is not None else [download.file_name for download in self.urls]

    @property
    def known_counts(self) -> dict[str, int] | None:
        """The rows of each class under the default target: measured, stated by the card, or None."""
        with suppress(InputError, KeyError, TypeError, AttributeError, ValueError):  # none, or damaged
            kept = read_json(self.folder / _COUNTS)
            if kept["target"] == self._counted:
                return {str(name): int(count) for name, count in kept["counts"].items()}
        return self.class_counts

    def keep_counts(self, counts: dict[str, int]) -> None:
        """Keep the rows of each class beside the files that they were counted in."""
        path = self.folder / _COUNTS
        try:
            to_json({"target": self._counted, "counts": counts}, path)
        except OSError as error:
            warnings.warn(f"the counts are not kept in {path} ({error.strerror})", MatcardWarning, stacklevel=3)

    @property
    def _counted(self) -> dict[str, Any]:
        """What the counts depend on."""
        edges = {"bins": list(self.bins or ()), "window": list(self.window or ())}
        return {"target": self.target, "threshold": self.threshold, **edges}


_COUNTS = "class_counts.json"


def card_names() -> list[str]:
    """Give the names of the data sets there is a card for."""
    return sorted(path.stem for path in resource_dir("datasets").glob("*.yaml"))


def card_of(source: str) -> Card | None:
    """Give the card that a source is the name of, or None.

    Raises:
        InputError: one that does not follow the schema.
    """
    return load_card(source) if source in card_names() else None


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
    formats = FORMATS.get(card.kind, {})
    if card.format not in formats:
        raise InputError(f"{path}: key 'format': {card.kind} come as {', '.join(formats)}; found {card.format!r}")
    ways = [key for key in ("threshold", "bins", "window") if getattr(card, key) is not None]
    if len(ways) > 1:
        raise InputError(f"{path}: keys {' and '.join(map(repr, ways))}: a target has one of them, not both")
    if (card.format == "materials-project") != (card.query is not None):
        raise InputError(f"{path}: key 'query': the format materials-project has one, and no other")
    if card.class_names and card.class_counts and set(card.class_names) != set(card.class_counts):
        raise InputError(f"{path}: keys 'class_names' and 'class_counts': they name different classes")
    if card.matminer is not None:
        card = _with_matminer(card, path)
    _check_files(path, card)
    return card


def _made(kind: Any, values: Any, where: str, **given: Any) -> Any:
    """Make a dataclass of a mapping; fields that are `given` are no keys of it."""
    hints = get_type_hints(kind, include_extras=True)
    keys = {part.name: part for part in fields(kind) if part.name not in given}
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a mapping with the keys {', '.join(keys)}; found {values!r:.80}")
    for key in values:
        if key not in keys:
            raise InputError(f"{where}: unknown key {key!r}; {nearest_names(str(key), keys)}")
    made = {}
    for key, part in keys.items():
        required = part.default is MISSING and part.default_factory is MISSING
        if required and key not in values:
            raise InputError(f"{where}: the key {key!r} is missing")
        if required or values.get(key) is not None:
            made[key] = _read(hints[key], values[key], where, key)
    return kind(**made, **given)


def _read(kind: Any, value: Any, where: str, key: str) -> Any:
    """Check the value of a key, and give lists as tuples and mappings as the dataclasses that they stand for."""
    choices = get_args(kind)
    if type(None) in choices:
        if value is None:
            return None
        kind = choices[0]
    if is_dataclass(kind):
        return _made(kind, value, f"{where}: {key}")
    if get_origin(kind) is tuple and is_dataclass(choices[0]) and isinstance(value, list):
        return tuple(_made(choices[0], entry, f"{where}: {key}[{i}]") for i, entry in enumerate(value))
    if not _fits(kind, value):
        raise InputError(f"{where}: key {key!r}: expected {_said(kind)}, found {value!r:.80}")
    return tuple(value) if isinstance(value, list) else value


def _fits(kind: Any, value: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return (isinstance(inner[1], Within) or _fits(inner[0], value)) and value in inner[1]
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list) and all(_fits(inner[0], item) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_fits(inner[0], a) and _fits(inner[1], b) for a, b in value.items())
    return kind is Any or (isinstance(value, str) and bool(value.strip()))


def _said(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return str(inner[1]) if inner[0] in (str, int, float) else f"{_said(inner[0])}, {inner[1]}"
    if origin is Literal:
        return str(Choices(inner))
    if origin is tuple:
        return "a list of mappings" if is_dataclass(inner[0]) else f"a list, each of it {_said(inner[0])}"
    if origin in (dict, Mapping):
        return "a mapping of names to values" + ("" if inner[1] is Any else f", each {_said(inner[1])}")
    return "text"


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
