"""What the rows of a card come from: files of several formats, the Materials Project, 3DSC, code that makes them."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pandas as pd

from matcard.cache import cache_dir, code_digest, kept
from matcard.crystals.crystals import objects
from matcard.crystals.read import read_crystals
from matcard.data.download import RETRIES, TIMEOUT, download_files
from matcard.data.image_files import contents
from matcard.data.materials_project import freeze
from matcard.data.perovskites import perovskite_phases
from matcard.errors import InputError
from matcard.files import readable
from matcard.table_files import INDEX, open_table, read_csv, require_column

if TYPE_CHECKING:
    from collections.abc import Callable

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
    file = next(iter(fetch(card).values()))
    crystals = read_crystals(
        unpack_3dsc(file) if card.format == "3dsc" else file,
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
        frame = _frame(files[download.file_name])
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


def _require(card: Card, kind: str) -> None:
    if card.kind != kind:
        raise InputError(f"the data set {card.name} holds {card.kind}; {kind} were expected")


def _frame(path: Path) -> pd.DataFrame:
    """Read a CSV file, or a table as matminer writes it."""
    table = open_table(path)
    assert table is not None  # the ending is .csv, .json or .json.gz
    frame = pd.concat([piece.frame for piece in table.pieces], ignore_index=True)
    return frame.drop(columns=INDEX, errors="ignore").infer_objects()


def unpack_3dsc(archive: Path) -> Path:
    """Give the crystals of 3DSC(MP) as a table, made once of the archive of its repository and kept in the cache.

    The repository's table names in `cif` a file for each row; the file's name without the ending is the id, and its
    text, where there is one, takes the place of its name. Kept are the columns `formula_sc`, `tc` (K), `sc_class`,
    `weight` and `synth_doped` (the structure was doped by the authors' algorithm).

    Raises:
        InputError: an archive without the table, or a table without these columns.
    """
    stamp = archive.stat()
    decisive = [archive.name, stamp.st_size, stamp.st_mtime_ns, code_digest([Path(__file__)], ())]
    folder, _ = kept(cache_dir() / "unpacked", decisive, f"the table of {archive.name}", partial(_unpack, archive))
    return folder / "3dsc.parquet"


def _unpack(archive: Path, folder: Path) -> dict[str, Any]:
    wanted = contents(archive, lambda name: _ROOT in name and name.endswith((".cif", _TABLE)))
    files = {PurePosixPath(name).name: content for name, content in wanted}
    if _TABLE not in files:
        raise InputError(f"{archive} holds no file {_TABLE}; the repository of 3DSC, with its data, was expected")
    path = folder / _TABLE
    lines = files.pop(_TABLE).splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b"#")))
    with readable(path):
        rows = read_csv(path)
    path.unlink()
    missing = [column for column in _COLUMNS if column not in rows]
    if missing:
        raise InputError(f"{_TABLE} of 3DSC has no column {missing[0]!r}; another version than the card names?")
    names = [PurePosixPath(str(cif)).name for cif in rows["cif"]]
    texts = objects(files[name].decode("utf-8", "replace") if name in files else None for name in names)
    ids = [name.removesuffix(".cif") for name in names]
    doped = ["synth_doped" in name for name in names]
    table = rows[list(_COLUMNS)].assign(id=ids, cif=texts, synth_doped=doped)
    table.to_parquet(folder / "3dsc.parquet", index=False)
    return {}
