"""What the rows of a card come from: files of several formats, the Materials Project, 3DSC, code that makes them."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits, make_classification

from matcard.cache import code_digest
from matcard.crystals.files import LABELS
from matcard.crystals.read import read_crystals
from matcard.crystals.tables import INDEX, open_table, read_csv, require_column
from matcard.data.archives import extract
from matcard.data.card_files import keep_counts
from matcard.data.download import RETRIES, TIMEOUT, download_files
from matcard.data.image_files import read_cifar, read_idx
from matcard.data.labels import make_labels
from matcard.data.materials_project import freeze
from matcard.data.perovskites import perovskite_phases
from matcard.errors import InputError, MatcardWarning
from matcard.files import locked, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Int
    from rich.console import Console

    from matcard.crystals.crystals import Crystals
    from matcard.data.card import Card

_TABLE = "3DSC_MP.csv"
_COLUMNS = ("formula_sc", "tc", "sc_class", "weight", "cif")
_ROOT = "data/final/MP/"


def fetch(
    card: Card, *, console: Console | None = None, timeout: float = TIMEOUT, retries: int = RETRIES
) -> dict[str, Path]:
    """Give every file of a card by its name, downloaded if need be and checked; none for what code makes.

    What a database is asked for is asked once and frozen. For the arguments see `download_files`.

    Raises:
        InputError: a file that cannot be had; the message says what came from where, and how to place it by hand.
    """
    if card.query is not None:
        return freeze(card, card.query)
    return download_files(card, console=console, timeout=timeout, retries=retries)


def load_crystals(
    card: Card,
    *,
    deuterium: bool = False,
    jobs: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Crystals:
    """Give every row of a card of crystals, downloaded if need be and parsed once.

    Args:
        card: a card of crystals.
        deuterium: whether D in a CIF is read as hydrogen.
        jobs: processes that parse structures, as in joblib (-1: all cores).
        progress: called with the rows parsed and their number, an estimate or None, where they are not yet parsed.

    Raises:
        InputError: a card of something else, or files that cannot be had or read.
    """
    _require(card, "crystals")
    if card.format == "generated":
        return perovskite_phases()
    crystals = read_crystals(
        _crystal_source(card),
        id_column=card.id_column,
        structure_column=card.structure_column,
        deuterium=deuterium,
        jobs=jobs,
        progress=progress,
    )
    require_column(card.target, map(str, crystals.columns), card.name, "target")
    return crystals


def load_frame(card: Card) -> pd.DataFrame:
    """Give the rows of a card of compositions, downloaded if need be.

    The columns are those of the files (`card.composition_column` holds formulas as text, or
    `card.feature_columns` numbers), `card.target`, and `part` where the makers of the data set divided it.

    Raises:
        InputError: a card of something else, files that cannot be had or read, or a missing column.
    """
    _require(card, "compositions")
    files = fetch(card)
    frames = []
    for download in card.urls:
        frame = _READERS[card.format](files[download.file_name])
        frames.append(frame if download.part is None else frame.assign(part=download.part))
    frame = pd.concat(frames, ignore_index=True)
    if card.window is not None:
        require_column(card.window.column, frame.columns, card.name, "target")
        inside = frame[card.window.column].between(card.window.low, card.window.high)
        frame[card.target] = inside.map({True: "inside", False: "outside"}).where(frame[card.window.column].notna())
    needed = [card.target, *card.feature_columns, *([card.composition_column] if card.composition_column else [])]
    missing = [column for column in needed if column not in frame]
    if missing:
        raise InputError(f"card {card.name}: no column {missing[0]!r} in its files, only {', '.join(map(str, frame))}")
    return frame


def measure_counts(card: Card) -> dict[str, int]:
    """Count the rows of each class in the files of a card (downloaded if need be), and keep the counts beside them.

    Rows without a value of the target do not count; rows whose structure cannot be used do. Counts that differ from
    those that the card states raise a `MatcardWarning`.

    Raises:
        InputError: files that cannot be had or read.
    """
    names, codes = _MEASURES[card.kind](card)
    counted = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
    counts = dict(zip(names, counted, strict=True))
    if card.class_counts is not None and counts != card.class_counts:
        warnings.warn(
            f"{card.name}: the files hold {counts}, the card states {card.class_counts}", MatcardWarning, stacklevel=2
        )
    if not card.made_by_code:
        keep_counts(card, counts)
    return counts


def _require(card: Card, kind: str) -> None:
    if card.kind != kind:
        raise InputError(f"the data set {card.name} holds {card.kind}; {kind} were expected")


def _crystal_source(card: Card) -> Path:
    """Give the verified file or folder that crystals are read from."""
    file = next(iter(fetch(card).values()))
    return unpack_3dsc(file) if card.format == "3dsc" else file


def _matminer_frame(path: Path) -> pd.DataFrame:
    table = open_table(path)
    assert table is not None  # the card's file ends in .json or .json.gz
    frame = pd.concat([piece.frame for piece in table.pieces], ignore_index=True)
    return frame.drop(columns=INDEX, errors="ignore").infer_objects()


def _csv_frame(path: Path) -> pd.DataFrame:
    with readable(path):
        return read_csv(path)


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {"matminer": _matminer_frame, "csv": _csv_frame}


def _classes(card: Card, values: pd.Series[Any]) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    labels = make_labels(values, threshold=card.threshold, bins=card.bins, target=card.target)
    return labels.class_names, labels.codes


def _of_crystals(card: Card) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    return _classes(card, load_crystals(card).columns[card.target])


def _of_compositions(card: Card) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    return _classes(card, load_frame(card)[card.target])


def _of_images(card: Card) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    if card.format == "digits":
        return card.class_names, load_digits().target
    files = fetch(card)
    if card.format == "idx":
        return card.class_names, np.concatenate([read_idx(path) for name, path in files.items() if "labels" in name])
    images = read_cifar(next(iter(files.values())), card.labels or "labels")
    return images.class_names, np.concatenate([images.y_train, images.y_test])


def _of_table(card: Card) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    return card.class_names, make_classification(**card.parameters)[1]


_MEASURES = {"crystals": _of_crystals, "compositions": _of_compositions, "images": _of_images, "table": _of_table}


def unpack_3dsc(archive: Path) -> Path:
    """Unpack the crystals of 3DSC(MP) beside the archive of its repository, once, and give the folder.

    The table's `cif` names a file for each row; its name without the ending is the id. Kept are the columns
    `formula_sc`, `tc` (K), `sc_class`, `weight` and `synth_doped` (the structure was doped by the authors' algorithm).

    Raises:
        InputError: an archive without the table, or a table without these columns.
    """
    stamp = archive.stat()
    code = code_digest([Path(__file__)], ())[:16]
    folder = archive.with_name(f"unpacked-{stamp.st_size}-{stamp.st_mtime_ns}-{code}")
    if not folder.is_dir():
        with locked(folder, f"unpacks {archive.name}"):
            if not folder.is_dir():  # another process may have unpacked it meanwhile
                _unpack(archive, folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    working = Path(tempfile.mkdtemp(prefix=".3dsc-", dir=archive.parent))
    try:
        extracted = extract(
            archive, working / "archive", lambda name: _ROOT in name and name.endswith((".cif", _TABLE))
        )
        cifs = {path.name: path for path in extracted.rglob("*.cif")}
        tables = list(extracted.rglob(_TABLE))
        if len(tables) != 1:
            raise InputError(
                f"{archive} holds {len(tables)} files {_TABLE}; the repository of 3DSC, with its data, was expected"
            )
        crystals = working / "crystals"
        crystals.mkdir()
        for name in _write_labels(tables[0], crystals / LABELS):
            if name in cifs:
                cifs[name].replace(crystals / name)
        crystals.replace(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _write_labels(table: Path, path: Path) -> list[str]:
    """Write the folder's table of labels and give the file name of each row."""
    with readable(table):
        with table.open(encoding="utf-8") as file:
            comments = next((k for k, line in enumerate(file) if not line.startswith("#")), 0)
        rows = read_csv(table, skiprows=comments)
    missing = [column for column in _COLUMNS if column not in rows]
    if missing:
        raise InputError(f"{table.name} of 3DSC has no column {missing[0]!r}; another version than the card names?")
    names = [PurePosixPath(str(cif)).name for cif in rows["cif"]]
    labels = rows[[column for column in _COLUMNS if column != "cif"]]
    labels.insert(0, "id", [name.removesuffix(".cif") for name in names])
    labels.assign(synth_doped=["synth_doped" in name for name in names]).to_csv(path, index=False)
    return names
