"""Tables that are written piece by piece and appear whole: parquet, CSV, JSON lines."""

from __future__ import annotations

from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from matcard.errors import InputError
from matcard.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

    Write = Callable[[pd.DataFrame], None]

_DIGITS = "%.9g"

SUFFIXES = (".parquet", ".csv", ".jsonl")


def check_output(path: Path) -> None:
    """Refuse an output that cannot be written before anything is computed.

    Raises:
        InputError: an ending that is not among `SUFFIXES`, a folder, or a place where none can be made or written to.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"-o {path}: the ending says what to write, one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"-o {path} is a folder: name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"-o {path}: there is no folder to write to ({error.strerror}); name another") from error
    try:
        # What may be written is for the file system to say: permissions alone do not tell.
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"-o {path}: the folder cannot be written to ({error.strerror}); name another") from error


@contextmanager
def open_table(path: Path) -> Iterator[Write]:
    """Give a function that appends a frame; all have the same columns and types.

    Parquet gets a row group a frame. The file is there once all is written, and not at all if that fails.
    """
    check_output(path)
    opened = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}[path.suffix.lower()]
    with written_whole(path) as beside, opened(beside) as write:
        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None

    def write(frame: pd.DataFrame) -> None:
        nonlocal writer
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema)
        writer.write_table(table.cast(writer.schema))

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        yield lambda frame: frame.to_csv(file, index=False, header=file.tell() == 0, float_format=_DIGITS)


@contextmanager
def _json_lines(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda frame: frame.to_json(file, orient="records", lines=True, force_ascii=False, double_precision=9)
