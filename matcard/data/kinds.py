"""Which kind of data a source is, by its card, its ending and its columns, and which options play no part then."""

from __future__ import annotations

import csv
import io
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from matcard.crystals.batches import structure_columns
from matcard.data.card import card_of
from matcard.data.options import ABOUT, DataOptions
from matcard.errors import InputError, MatcardWarning
from matcard.files import LABELS, is_structure_file, open_bytes

if TYPE_CHECKING:
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
    if (card := card_of(options.source)) is not None:
        return card.kind
    path = Path(options.source)
    if options.structure_column is not None:
        return "crystals"
    if options.composition_column is not None:
        return "compositions"
    if path.is_dir():
        names = ("data_batch_1", "batches.meta", "train", "meta")  # of the files of CIFAR
        images = any(path.glob("*idx3-ubyte*")) or any((path / name).is_file() for name in names)
        return "images" if images else "crystals"
    if path.name == LABELS or is_structure_file(path):
        return "crystals"
    name = path.name.lower()
    if name.endswith(".npz"):
        return "images"
    try:
        if name.endswith(".parquet"):
            return _by_columns(set(pq.read_schema(path).names))
        if name.endswith((".csv", ".csv.gz")):
            return _by_columns(_csv_columns(path))
    except (OSError, EOFError, ValueError, csv.Error):
        pass
    return "crystals"


def _by_columns(columns: set[str]) -> DataKind:
    """Judge by the names of the columns; none at all is what `_csv_columns` gives for cells of structures."""
    if not columns or structure_columns(columns):
        return "crystals"
    return "compositions" if columns & set(COMPOSITION_COLUMNS) else "table"


def _csv_columns(path: Path) -> set[str]:
    with open_bytes(path) as file:
        rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
        names = next(rows, [])
        cells = next(rows, [])
    return set() if any(len(cell) > _LONG or "\n" in cell for cell in cells) else set(names)


def tell_unused(options: DataOptions, card: Card | None) -> None:
    """Warn of options that are set and play no part.

    Raises:
        InputError: a test part is named, and code makes the data.
    """
    kind, made = kind_of(options), card is not None and card.format == "make_classification"
    source_is = f"{options.source} holds {kind}{' of a card' if card else ''}"
    if made and options.test_source is not None:
        raise InputError(f"--data.test_source {options.test_source}: {source_is}, made by code; leave it out")
    unused = {name for about in ABOUT.values() for name in about.options} - set(ABOUT[kind].options)
    unused |= {"features", "id_column"} if made else {"synthetic"}
    if card is not None and kind == "crystals":
        unused |= {"id_column", "structure_column"}  # a card names them; no option goes before it
    default = DataOptions()
    for name in (part.name for part in fields(options) if part.name in unused):
        if getattr(options, name) != getattr(default, name):
            warnings.warn(f"--data.{name} plays no part: {source_is}; leave it out", MatcardWarning, stacklevel=3)
