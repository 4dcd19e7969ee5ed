"""The kinds of data: what is known of each without reading anything, and which one a source or a word means."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.parquet as pq

from matcard.crystals.files import LABELS, is_structure_file
from matcard.crystals.tables import structure_columns
from matcard.data.card import card_of
from matcard.data.options import DataOptions
from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matcard.data.card import Card
    from matcard.data.options import DataKind
    from matcard.data.samples import Source


class About(NamedTuple):
    """What is known of a kind before a file of it is read."""

    unit: str
    """What samples are called where they are counted."""
    network: str
    """The model where none is named."""
    options: tuple[str, ...]
    """Those of `DataOptions` that play a part in it, of the ones that do not in every kind."""


_ROWS = ("id_column", "features", "standardise")
ABOUT: dict[DataKind, About] = {
    "crystals": About("crystals", "cgcnn", ("id_column", "structure_column", "deuterium", "graph")),
    "compositions": About("compositions", "mlp", (*_ROWS, "composition_column", "composition_features")),
    "images": About("images", "resnet", ("standardise", "augment")),
    "table": About("rows", "mlp", _ROWS),
}
STDIN = "-"
"""The word for standard input."""
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
    return set(pq.read_schema(path).names)


def _csv_columns(path: Path) -> set[str]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
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


def find_paths(words: Sequence[str], in_folder: Callable[[Path], list[Path]], takes: str) -> list[Path | None]:
    """Find the files and folders that are meant, in order; None stands for standard input.

    Patterns (quoted from the shell) are expanded in sorted order, `**` through folders.

    Args:
        words: of the command line.
        in_folder: what a folder stands for.
        takes: what inputs are, for messages.

    Raises:
        InputError: a path that does not exist, or a pattern that fits nothing.
    """
    found: list[Path | None] = []
    for name in words:
        path = Path(name).expanduser()
        if name == STDIN:
            found.append(None)
        elif path.exists():
            found += in_folder(path) if path.is_dir() else [path]
        elif glob.has_magic(name):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
            if not matches:
                raise InputError(f"{name}: no file fits this pattern")
            found += [file for match in matches for file in (in_folder(match) if match.is_dir() else [match])]
        else:
            raise InputError(f"{name}: no such file or folder; inputs are {takes}")
    return found


def files_alone(words: Sequence[str], in_folder: Callable[[Path], list[Path]], takes: str) -> list[Source]:
    """Find inputs as `find_paths` does, and refuse standard input.

    Raises:
        InputError: as `find_paths`, and for standard input.
    """
    found = find_paths(words, in_folder, takes)
    if None in found:
        raise InputError(f"{STDIN}: standard input is read for runs on crystals only; inputs are {takes}")
    return list(found)
