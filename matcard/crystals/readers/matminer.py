"""Matminer's and matbench's JSON (split-oriented, or a list of records), streamed: never whole in memory."""

from __future__ import annotations

from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import ijson

from matcard.crystals.readers.columns import INDEX
from matcard.crystals.readers.files import CHUNK, estimate_rows, open_bytes, readable
from matcard.crystals.readers.json_nan import NanAsNull
from matcard.crystals.readers.tables import Piece, Table
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matcard.crystals.readers.batch import Wanted


def matminer_json(path: Path, wanted: Wanted) -> Table:
    """Read `{"columns": [...], "index": [...], "data": [[...], ...]}` (keys in any order) or `[{...}]`."""
    return Table(path.name, _pieces(path))


def _pieces(path: Path) -> Iterator[Piece]:
    import pandas as pd

    with readable(path, ijson.JSONError):
        with open_bytes(path) as file:
            columns, index = _head(path, file)
        with open_bytes(path) as file:
            rows = ijson.items(NanAsNull(file), "item" if columns is None else "data.item", use_float=True)
            start = 0
            while chunk := _some(path, rows, start):
                numbers = pd.RangeIndex(start + 1, start + 1 + len(chunk))
                frame = pd.DataFrame(chunk, index=numbers, columns=columns, dtype=object)
                if index:
                    frame[INDEX] = index[start : start + len(chunk)]
                start += len(chunk)
                yield Piece(frame, len(index) or estimate_rows(file, path, start))
    if index and start != len(index):
        raise InputError(f"{path} has {len(index)} index entries for {start} rows; fetch or write the file again")


def _head(path: Path, file: IO[bytes]) -> tuple[list[str] | None, list[Any]]:
    """Read the names of columns (None for a list of records) and the index, which may follow the data."""
    columns: list[str] = []
    index: list[Any] = []
    for prefix, event, value in ijson.parse(NanAsNull(file), use_float=True):
        if prefix == "" and event == "start_array":
            return None, []
        if prefix == "columns.item":
            columns.append(value)
        elif prefix == "index.item":
            index.append(value)
        elif prefix == "data" and event == "start_array" and columns and index:
            break
    if not columns:
        raise InputError(
            f"{path} is not in matminer's layout: an object with columns, index and data was expected, or a "
            "list of objects; JSON lines go in a file named .jsonl"
        )
    return columns, index


def _some(path: Path, rows: Iterator[Any], start: int) -> list[Any]:
    """Take the next rows; a syntax error says after which row it stands."""
    chunk: list[Any] = []
    try:
        chunk.extend(islice(rows, CHUNK))
    except ijson.JSONError as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path} is broken after row {start + len(chunk)}: {said}; fetch or write it again") from None
    return chunk
