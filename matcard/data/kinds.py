"""What a source holds, found without reading it: crystals, compositions, images or table rows."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.crystals.files import holds_crystals
from matcard.crystals.tables import structure_columns
from matcard.data.card import card_names, load_card

if TYPE_CHECKING:
    from matcard.data.options import DataKind, DataOptions

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
    if holds_crystals(path):
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
