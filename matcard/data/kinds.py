"""What a source holds, found without reading it, and which options say nothing of that."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.crystals.files import LABELS, is_structure_file
from matcard.crystals.tables import structure_columns
from matcard.data.card import card_names, load_card
from matcard.data.options import DataOptions
from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matcard.data.card import Card
    from matcard.data.options import DataKind

COMPOSITION_COLUMNS = ("composition", "formula")
"""Columns that are taken for chemical formulas by name."""

_LONG = 200
"""A cell of so many characters is a structure, whatever its column is called."""


def kind_of(options: DataOptions) -> DataKind:
    """Give what a sample is, by the option, the card, or the ending and the columns of the file.

    Of what is not there or cannot be read crystals are said, so that their reader says what is wrong.

    Raises:
        InputError: a card that does not follow the schema.
    """
    if options.kind is not None:
        return options.kind
    if options.source in card_names():
        return load_card(options.source).kind
    path = Path(options.source)
    if options.structure_column is not None:
        return "crystals"
    if options.composition_column is not None:
        return "compositions"
    if path.is_dir():
        return "images" if _image_files(path) else "crystals"
    if path.name == LABELS or is_structure_file(path):
        return "crystals"
    name = path.name.lower()
    if name.endswith(".npz"):
        return "images"
    try:
        if name.endswith(".parquet"):
            return _by_columns(_parquet_columns(path))
        if name.endswith((".csv", ".csv.gz")):
            return _by_columns(_csv_columns(path))
    except (OSError, EOFError, ValueError, csv.Error):
        pass
    return "crystals"


def _image_files(folder: Path) -> bool:
    return any(folder.glob("*idx3-ubyte*")) or any(
        (folder / name).is_file() for name in ("data_batch_1", "batches.meta", "train", "meta")
    )


def _by_columns(columns: set[str]) -> DataKind:
    """Judge by the names of the columns; none at all is what `_csv_columns` gives for cells of structures."""
    if not columns or structure_columns(columns):
        return "crystals"
    return "compositions" if columns & set(COMPOSITION_COLUMNS) else "table"


def _parquet_columns(path: Path) -> set[str]:
    import pyarrow.parquet

    return set(pyarrow.parquet.read_schema(path).names)


def _csv_columns(path: Path) -> set[str]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
        names = next(rows, [])
        cells = next(rows, [])
    return set() if any(len(cell) > _LONG or "\n" in cell for cell in cells) else set(names)


_ROWS: tuple[DataKind, ...] = ("compositions", "table")
_USED_BY: dict[str, tuple[DataKind, ...]] = {
    "features": _ROWS,
    "id_column": ("crystals", *_ROWS),
    "structure_column": ("crystals",),
    "deuterium": ("crystals",),
    "composition_column": ("compositions",),
    "composition_features": ("compositions",),
    "standardise": ("images", *_ROWS),
    "augment": ("images",),
    "graph": ("crystals",),
}
_SAID_BY_CARD = ("id_column", "structure_column")
"""Columns of crystals that a card names; no option goes before it."""
_OF_FILES = ("test_source", "features", "id_column")
"""Nothing of rows that are made by code."""


def tell_unused(options: DataOptions, card: Card | None) -> None:
    """Warn of options that are set and play no part.

    Raises:
        InputError: a test part is named, and code makes the data.
    """
    kind = kind_of(options)
    unused = [name for name, kinds in _USED_BY.items() if kind not in kinds]
    if card is not None and kind == "crystals":
        unused += _SAID_BY_CARD
    if card is not None and card.format == "make_classification":
        unused += _OF_FILES
    else:
        unused.append("synthetic")
    _tell(options, unused, f"holds {kind}{' of a card' if card else ''}")


def _tell(options: DataOptions, unused: Iterable[str], source_is: str) -> None:
    default = DataOptions()
    named = [name for name in unused if getattr(options, name) != getattr(default, name)]
    if "test_source" in named:
        raise InputError(
            f"--data.test_source {options.test_source}: {options.source} {source_is}, made by code; leave it out"
        )
    for name in named:
        warnings.warn(
            f"--data.{name} plays no part: {options.source} {source_is}; leave it out",
            MatcardWarning,
            stacklevel=4,
        )
