"""What a card says of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matcard.data.options import DataKind

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

    url: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    mirrors: tuple[str, ...] = ()
    name: str | None = None
    part: str | None = None

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

    column: str
    low: float
    high: float


@dataclass(frozen=True)
class Query:
    """What is asked of a database that grows: the fields of each entry, and filters on the entries."""

    fields: tuple[str, ...]
    filters: Mapping[str, Any]


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
    title: str
    kind: DataKind
    description: str
    citation: str
    licence: str
    urls: tuple[Download, ...]
    format: str
    target: str
    class_counts: dict[str, int] | None
    known_problems: tuple[str, ...]
    matminer: str | None = None
    entries: int | None = None
    id_column: str | None = None
    structure_column: str | None = None
    composition_column: str | None = None
    feature_columns: tuple[str, ...] = ()
    threshold: float | None = None
    bins: tuple[float, ...] | None = None
    window: Window | None = None
    class_names: tuple[str, ...] = ()
    labels: str | None = None
    query: Query | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

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
