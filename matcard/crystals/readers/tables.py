"""Tables (parquet, CSV, JSON lines) as frames indexed by row number, some thousand rows at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from matcard.crystals.readers.batch import ID_COLUMNS
from matcard.crystals.readers.columns import STRUCTURE_COLUMNS
from matcard.crystals.readers.fields import read_fields, refuse_shifted
from matcard.crystals.readers.files import CHUNK, estimate_rows, open_bytes, readable
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from matcard.crystals.readers.batch import Wanted


class Piece(NamedTuple):
    """Some rows, and how many the table has in all: an estimate, or None."""

    frame: pd.DataFrame
    total: int | None


@dataclass(frozen=True)
class Table:
    """A table in pieces. `ragged`: each row names its columns, so the first rows may lack some.

    The index of a frame is the number of the row (counted from 1), or of the line where `unit` is "line".
    """

    name: str
    pieces: Iterator[Piece]
    unit: str = "row"
    ragged: bool = False

    @property
    def frames(self) -> Iterator[pd.DataFrame]:
        """The rows alone."""
        return (piece.frame for piece in self.pieces)


def parquet(path: Path, wanted: Wanted) -> Table:
    """Read parquet; a stored index becomes a column."""
    return Table(path.name, _parquet_pieces(path))


def csv(path: Path, wanted: Wanted) -> Table:
    """Read CSV with a header; the types of columns are settled over the whole file."""
    return Table(path.name, _csv_pieces(path, wanted))


def json_lines(path: Path, wanted: Wanted) -> Table:
    """Read JSON lines: one object a line."""
    return Table(path.name, _json_line_pieces(path), unit="line", ragged=True)


def _parquet_pieces(path: Path) -> Iterator[Piece]:
    import pyarrow.parquet as pq

    row = 1
    with readable(path), pq.ParquetFile(path) as file:
        for records in file.iter_batches(batch_size=CHUNK):
            frame = records.to_pandas(ignore_metadata=True)
            frame.index += row
            row += len(frame)
            yield Piece(frame, file.metadata.num_rows)


def _csv_pieces(path: Path, wanted: Wanted) -> Iterator[Piece]:
    import pandas as pd

    with readable(path):
        header = list(pd.read_csv(path, nrows=0).columns)
        bulky = [name for name in header if name in STRUCTURE_COLUMNS or name == wanted.structure_column]
        small = [name for name in header if name not in bulky]
        ids = {name: str for name in small if name in ID_COLUMNS or name == wanted.id_column}
        # With usecols pandas cuts lines that are too long: then the reading of structures finds them.
        others = read_fields(path, dtype=ids, **({"usecols": small} if bulky else {}))
        others.index += 1
        if not bulky:
            for row in range(0, len(others) or 1, CHUNK):  # of no rows, too, the columns are told
                yield Piece(others.iloc[row : row + CHUNK], len(others))
            return
        row = 0
        # All columns, though only the bulky are kept, for lines that are too long.
        with pd.read_csv(path, dtype=str, chunksize=CHUNK) as chunks:
            for cells in chunks:
                refuse_shifted(cells, path)
                structures = cells[bulky]
                structures.index += 1
                # Of a file of structures alone, the others have no rows.
                piece = others.iloc[row : row + len(structures)].join(structures, how="right")
                yield Piece(piece, len(others) if small else None)
                row += len(structures)


def _json_line_pieces(path: Path) -> Iterator[Piece]:
    import pandas as pd

    with readable(path), open_bytes(path) as file:
        lines = enumerate(file, start=1)
        done = 0
        while chunk := list(islice(lines, CHUNK)):
            rows = {k: _json_object(path, k, line) for k, line in chunk if not line.isspace()}
            if rows:
                done += len(rows)
                frame = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows)), dtype=object)
                yield Piece(frame, estimate_rows(file, path, done))


def _json_object(path: Path, k: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path} line {k} is not JSON: {error}; is the file complete?") from None
    if not isinstance(row, dict):
        raise InputError(f"{path} line {k} is a {type(row).__name__}; a JSON object {{...}} a line was expected")
    return row
