"""From a card to its rows: crystals as a validated table, compositions as a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from matcard.crystals.table import CrystalTable
    from matcard.data.cards.card import Card


def load_table(card: Card, *, jobs: int = 1, progress: Callable[[int, int | None], None] | None = None) -> CrystalTable:
    """Give the crystals of a card, downloaded if need be and parsed once.

    Args:
        card: a card of crystals.
        jobs: processes that parse structures, as in joblib (-1: all cores).
        progress: called with the rows parsed and their number, an estimate or None, where they are not yet parsed.

    Raises:
        InputError: a card of something else, or files that cannot be had or read.
    """
    _require(card, "crystals")
    if card.format == "generated":
        from matcard.data.perovskites import perovskite_phases

        return perovskite_phases()
    from matcard.crystals import open_crystals
    from matcard.data.cache import cache_dir

    return open_crystals(
        crystal_source(card),
        cache_dir() / "crystals",
        id_column=card.id_column,
        structure_column=card.structure_column,
        target=card.target,
        jobs=jobs,
        progress=progress,
    )


def crystal_source(card: Card) -> Path:
    """Give the verified file or folder that `read_crystals` takes for a card."""
    from matcard.data.downloads import fetch

    files = fetch(card)
    if card.format == "3dsc":
        from matcard.data.cards.threedsc import unpack

        return unpack(next(iter(files.values())))
    return next(iter(files.values()))


def load_frame(card: Card) -> pd.DataFrame:
    """Give the rows of a card of compositions, downloaded if need be.

    The columns are those of the files (`card.composition_column` holds formulas as text, or
    `card.feature_columns` numbers), `card.target`, and `part` where the makers of the data set divided it.

    Raises:
        InputError: a card of something else, files that cannot be had or read, or a missing column.
    """
    import pandas as pd

    from matcard.crystals.readers.columns import require_column
    from matcard.data.downloads import fetch

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


def _matminer_frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    from matcard.crystals.readers.batch import Wanted
    from matcard.crystals.readers.columns import INDEX
    from matcard.crystals.readers.matminer import matminer_json

    frame = pd.concat(matminer_json(path, Wanted()).frames, ignore_index=True)
    return frame.drop(columns=INDEX, errors="ignore").infer_objects()


def _csv_frame(path: Path) -> pd.DataFrame:
    from matcard.crystals.readers.fields import read_fields
    from matcard.crystals.readers.files import readable

    with readable(path):
        frame: pd.DataFrame = read_fields(path)
    return frame


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {"matminer": _matminer_frame, "csv": _csv_frame}


def _require(card: Card, kind: str) -> None:
    if card.kind != kind:
        raise InputError(f"the data set {card.name} holds {card.kind}; {kind} were expected")
