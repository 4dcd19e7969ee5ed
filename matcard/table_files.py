"""Tables in files (parquet, CSV, JSON lines, JSON), some thousand rows at a time, and what their columns hold."""

from __future__ import annotations

import codecs
import csv
import io
import json
import sys
import unicodedata
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from matcard.errors import InputError, nearest_names
from matcard.files import LABELS, decode_text, estimate_rows, open_bytes, plain_name, read_text, readable, source_exists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ENDS = tuple(",]}: \t\r\n")


class JsonStream:
    """Gives the values of one JSON object or list in turn, so that the file is never whole in memory.

    NaN, which Python writes for numbers that are missing, is a number here.
    """

    _BLOCK = 1 << 22

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.path = path
        self._file = file
        self._text, self._at = "", 0
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._scan = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """Give the next character that is not blank, or nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def value(self) -> Any:
        """Give the value that comes next."""
        self.peek()
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError:
                if not self._read():
                    raise
                continue
            taken = end - self._at
            # A number at the end of a block may go on.
            if self._text[end : end + 1] in _ENDS or not self._read():
                self._at += taken
                return value

    def items(self) -> Iterator[Any]:
        """Give the items of a list one after the other."""
        rows = 0
        try:
            for _ in self._separated("[", "]"):
                yield self.value()
                rows += 1
        except json.JSONDecodeError as error:
            raise InputError(f"{self.path} is broken after row {rows}: {error}; fetch or write it again") from None

    def entries(self) -> Iterator[str]:
        """Give the keys of an object; the value of each is to be taken before the next."""
        for _ in self._separated("{", "}"):
            key = self.value()
            self._take(":")
            yield str(key)

    def _separated(self, start: str, end: str) -> Iterator[None]:
        self._take(start)
        if self.peek() != end:
            yield None
            while self.peek() == ",":
                self._at += 1
                yield None
        self._take(end)

    def _take(self, char: str) -> None:
        if self.peek() != char:
            raise json.JSONDecodeError(f"Expecting {char!r}", self._text, self._at)
        self._at += 1

    def _read(self) -> bool:
        block = self._file.read(self._BLOCK)
        self._text = self._text[self._at :] + self._decode(block, final=not block)
        self._at = 0
        return bool(block)


CHUNK = 2_000
"""Rows that are read, decoded and checked at a time."""
ID_COLUMNS = ("material_id", "id", "structure_id", "mp_id", "jid", "mpid", "cif_id", "entry_id")
"""Where ids are looked for, in this order, when no column is named."""
INDEX = "__index_level_0__"
"""How pandas calls an unnamed index in parquet; it gives the ids when no column does."""
MISSING = frozenset(
    {"NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null"}
)
MISSING |= {"None", "none", "na", "-", "?", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"}
"""Words for a missing value: those of pandas, and those of databases."""
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
"""Characters that do not show; what is left out of words beside blanks at either end."""
LISTS = "(a list)"
"""Stands in a column for a value that is a list, an array or a dict: no label, and not kept."""

_AS_TEXT = {*ID_COLUMNS, "structure", "cif", "lattice_abc_angles", "lattice", "species", "frac_coords"}
_AS_WRITTEN: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "low_memory": False}


class Piece(NamedTuple):
    """Some rows, indexed by their numbers, and how many the table has in all: an estimate, or None."""

    frame: pd.DataFrame
    total: int | None


class Table(NamedTuple):
    """A table in pieces, whose rows are counted as `unit` says."""

    name: str
    pieces: Iterator[Piece]
    unit: str

    def whole(self) -> pd.DataFrame:
        """Give all rows, indexed by their numbers, the types of columns settled over all of them."""
        frames = [piece.frame for piece in self.pieces]
        return pd.concat(frames).infer_objects() if frames else pd.DataFrame()


def open_table(path: Path, as_row: Callable[[Any], Any] = lambda value: value) -> Table | None:
    """Open a table by its name; None where it is none.

    Args:
        path: of the file, compressed or not.
        as_row: gives the row that an object of JSON stands for, another one where it is a cell of its row.

    Raises:
        InputError: while it is read, when it is damaged or of another kind than its name says.
    """
    read, unit = _READERS.get(Path(plain_name(path)).suffix.lower(), (None, ""))
    return Table(path.name, read(path, as_row), unit) if read else None


def require_column(column: str, columns: Iterable[str], name: str, option: str) -> None:
    """Say which columns there are when `column`, named by `--data.<option>`, is not one of them.

    Raises:
        InputError: it is not.
    """
    names = [str(c) for c in columns if c != INDEX]
    if not names:
        folder = Path(name) if Path(name).is_dir() else Path(name).parent
        if Path(name) in (folder, own := folder / LABELS) and own.is_file():
            raise InputError(f"{own} has ids alone, no {column!r} (--data.{option}): write lines of id,label")
        tables = sorted(path.name for path in folder.glob("*.csv") if path != own) if source_exists(name) else []
        hint = f"; {tables[0]} lies there: rename it, if it holds their labels" if tables else ""
        raise InputError(
            f"{name} has no columns, so none that is called {column!r} (--data.{option}); labels of structure files "
            f"stand in the id_prop.csv of their folder: give that folder as the source{hint}"
        )
    if column not in names:
        raise InputError(f"{name} has no column {column!r} (--data.{option}): {nearest_names(column, names)}")


def ids_column(columns: Iterable[object], named: str | None, name: str) -> str | None:
    """Give the column of the ids: the one that is named, or else the first that is known by its name; None without.

    Raises:
        InputError: the one that is named is not there; `name` is that of the table.
    """
    names = list(map(str, columns))
    if named is not None:
        require_column(named, names, name, "id_column")
    return named or next((known for known in ID_COLUMNS if known in names), None)


def as_ids(values: pd.Series[Any]) -> list[str | None]:
    """Give ids as text, None where there is none; whole numbers without a point."""
    if values.dtype.kind == "f" and bool((values.dropna() % 1 == 0).all()):
        values = values.astype("Int64")
    return [None if missing else str(v) for v, missing in zip(values, values.isna(), strict=True)]


def scalars(frame: pd.DataFrame) -> pd.DataFrame:
    """Put `LISTS` in place of lists, arrays and dicts: what is left can be labels or groups, and is valid Unicode."""
    kept = frame.copy(deep=False)
    for k in np.flatnonzero([dtype.kind == "O" for dtype in frame.dtypes]).tolist():
        kept.isetitem(k, np.array([None, *map(_scalar, frame.iloc[:, k])], dtype=object)[1:])
    return kept


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return valid(value)
    return LISTS if isinstance(value, (list, tuple, dict, np.ndarray)) else value


def read_csv(path: Path, *, lines: bool = False, **options: Any) -> pd.DataFrame:
    """Read CSV with `options` of `pandas.read_csv`, the types of columns settled over the whole file.

    Words stay as they are written and only the empty field is missing; among numbers or truth values so are the words
    of `MISSING`.

    Args:
        path: of the file, compressed or not.
        lines: whether rows are indexed by the line of the file that they begin in.
        options: of pandas; those columns that are given a `dtype` keep it.

    Raises:
        InputError: a row has a field more than the header has names: pandas takes the first for an index.
    """
    text = read_text(path)
    frame: pd.DataFrame = pd.read_csv(io.StringIO(text), **_AS_WRITTEN, **options)
    if not isinstance(frame.index, pd.RangeIndex):
        raise InputError(
            f"{path} has more fields in a row than names in its header: quote fields that hold commas, or name the "
            "columns that have none"
        )
    as_text = options.get("dtype", ())
    for k, name in enumerate(frame):
        if as_text is not str and name not in as_text and frame.dtypes.iloc[k].kind == "O":
            frame.isetitem(k, _numbers_with_gaps(frame.iloc[:, k]).array)
    if lines:
        numbers = _record_lines(text)
        frame.index = pd.Index(numbers[len(numbers) - len(frame) :] if len(numbers) >= len(frame) else frame.index + 2)
    return frame


def _numbers_with_gaps(values: pd.Series[Any]) -> pd.Series[Any]:
    """Give a column of words as numbers or truth values where all but the missing ones are."""
    missing = values.isna() | values.isin(MISSING)
    present = values[~missing]
    if present.empty or len(present) == len(values) - values.isna().sum():
        return values
    numbers = pd.to_numeric(present, errors="coerce")
    if numbers.notna().all():
        return numbers.reindex(values.index)
    if present.isin(["True", "False"]).all():
        return (present == "True").astype(object).reindex(values.index)
    return values


def _record_lines(text: str) -> list[int]:
    """Give the line that each row of CSV begins in, counted from 1; blank lines are none."""
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(io.StringIO(text, newline=""))
    found, line = [], 1
    for row in rows:
        if len(row) > 1 or "".join(row).strip():
            found.append(line)
        line = rows.line_num + 1
    return found


def cleaned_words(values: pd.Series[Any]) -> pd.Series[Any]:
    """Give words without what does not count in them, and None for those that stand for a missing value."""
    if isinstance(values.dtype, pd.CategoricalDtype) or not any(isinstance(value, str) for value in values):
        return values
    words = [plain_word(value) if isinstance(value, str) else value for value in values]
    found = [None if isinstance(word, str) and (not word or word in MISSING) else word for word in words]
    return pd.Series(found, values.index, dtype=object)


def plain_word(text: str) -> str:
    """Give a word in one Unicode form, with single blanks, and none at either end."""
    return " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).split())


def label_texts(values: pd.Series[Any]) -> list[str | None]:
    """Give each value of a target as text: whole numbers without a point, None where missing."""
    cleaned = cleaned_words(values)
    return [
        None if missing else str(int(value)) if isinstance(value, float) and value % 1 == 0 else plain_word(str(value))
        for value, missing in zip(cleaned, cleaned.isna(), strict=True)
    ]


def valid(text: str) -> str:
    """Give text as it is, but for what is no valid Unicode, such as half of a surrogate pair: that by its code."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _parquet(path: Path, _: Any) -> Iterator[Piece]:
    row = 1
    with readable(path), open_bytes(path) as opened, pq.ParquetFile(opened) as file:
        for records in file.iter_batches(batch_size=CHUNK):
            frame = records.to_pandas(ignore_metadata=True)
            frame.index += row
            row += len(frame)
            yield Piece(frame, file.metadata.num_rows)


def _csv(path: Path, _: Any) -> Iterator[Piece]:
    with readable(path, csv.Error):
        header = next(csv.reader(io.StringIO(read_text(path))), [])
        frame = read_csv(path, lines=True, dtype={name: str for name in header if name in _AS_TEXT})
    for row in range(0, len(frame) or 1, CHUNK):  # of no rows, too, the columns are told
        yield Piece(frame.iloc[row : row + CHUNK], len(frame))


def _json_lines(path: Path, as_row: Callable[[Any], Any]) -> Iterator[Piece]:
    with readable(path), open_bytes(path) as file:
        done = 0
        for rows in json_rows(file, as_row):
            for k, row in rows.items():
                if isinstance(row, InputError):
                    raise InputError(f"{path} line {k} {str(row).removeprefix('the line ')}; is the file complete?")
            done += len(rows)
            yield Piece(
                pd.DataFrame(list(rows.values()), index=pd.Index(list(rows)), dtype=object),
                estimate_rows(file, path, done),
            )


def json_rows(lines: Iterable[bytes], as_row: Callable[[Any], Any]) -> Iterator[dict[int, Any]]:
    """Parse lines of JSON, some thousand at a time, each by its number; an error stands for one that is no object."""
    numbered = enumerate(lines, start=1)
    while chunk := list(islice(numbered, CHUNK)):
        if rows := {k: _json_row(line, as_row) for k, line in chunk if line.strip()}:
            yield rows


def _json_row(line: bytes, as_row: Callable[[Any], Any]) -> dict[str, Any] | InputError:
    try:
        row = json.loads(decode_text(line))
    except ValueError as error:
        return InputError(f"the line is not JSON: {error}")
    if not isinstance(row, dict):
        return InputError(f"the line is a {type(row).__name__}; a JSON object {{...}} was expected")
    made: dict[str, Any] = as_row(row)
    return made


def _json(path: Path, as_row: Callable[[Any], Any]) -> Iterator[Piece]:
    """Stream `{"columns": [...], "index": [...], "data": [[...], ...]}` (keys in any order) or `[{...}]`."""
    with readable(path), open_bytes(path) as file:
        stream = JsonStream(file, path)
        if stream.peek() == "[":
            yield from _json_frames(file, path, stream.items(), None, None)
            return
        held: dict[str, Any] = {}
        for key in stream.entries():
            if key == "data" and {"columns", "index"} <= held.keys():
                yield from _json_frames(file, path, stream.items(), held["columns"], held["index"])
                return
            held[key] = stream.value()
        if {"columns", "data"} <= held.keys():
            yield from _json_frames(file, path, iter(held["data"]), held["columns"], held.get("index"))
        elif (row := as_row(held)) is not held:
            yield Piece(pd.DataFrame([{"id": Path(plain_name(path)).stem, **row}], index=[1]), 1)
        else:
            raise InputError(
                f"{path} is an object with {', '.join(list(held)[:10])} and not in matminer's layout: one with "
                "columns, index and data was expected, or a list of objects; JSON lines go in a file named .jsonl"
            )


def _json_frames(
    file: IO[bytes], path: Path, rows: Iterator[Any], columns: list[str] | None, index: list[Any] | None
) -> Iterator[Piece]:
    start = 0
    while chunk := list(islice(rows, CHUNK)):
        numbers = pd.RangeIndex(start + 1, start + 1 + len(chunk))
        frame = pd.DataFrame(chunk, index=numbers, columns=columns, dtype=object)
        if index:
            frame[INDEX] = index[start : start + len(chunk)]
        start += len(chunk)
        yield Piece(frame, len(index) if index else estimate_rows(file, path, start))
    if index and start != len(index):
        raise InputError(f"{path} has {len(index)} index entries for {start} rows; fetch or write the file again")


_READERS: dict[str, tuple[Callable[[Path, Callable[[Any], Any]], Iterator[Piece]], str]] = {
    ".parquet": (_parquet, "row"),
    ".csv": (_csv, "line"),
    ".jsonl": (_json_lines, "line"),
    ".json": (_json, "row"),
}
"""What gives the pieces of a table by its ending, and what its rows are counted in."""
