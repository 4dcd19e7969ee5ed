"""Predictions of any number of inputs, piece by piece, into one table that appears whole: parquet, CSV, JSON lines."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from matcard.crystals.batches import STDIN
from matcard.data.options import ABOUT, DataOptions
from matcard.errors import InputError, listed
from matcard.files import written_whole
from matcard.prediction.predictor import BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

    from matcard.data.samples import Kind, Progress, Samples, Source
    from matcard.prediction.predictor import Predictor


SUFFIXES = (".parquet", ".csv", ".jsonl")
_DIGITS = "%.9g"


@dataclass
class Tally:
    """What became of the inputs.

    Attributes:
        rows: all of them.
        errors: those without a prediction.
        novel: those with one that is not to be trusted.
        classes: number predicted of each class, by the decision rule.
        seconds: from the first input to the last row.
        failures: messages of the inputs that could not be read to their end.
        first_error: why the first of those without a prediction has none.
    """

    rows: int
    errors: int
    novel: int
    classes: dict[str, int]
    seconds: float
    failures: list[str]
    first_error: str | None = None


def predict_sources(
    predictor: Predictor,
    inputs: Sequence[str],
    output: Path,
    *,
    batch_size: int = BATCH_SIZE,
    options: DataOptions,
    calibrated: bool = False,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Tally:
    """Predict all inputs in order and write a row for each; some thousand are held in memory at a time.

    Args:
        predictor: one run or several.
        inputs: files, patterns, folders, tables of the kind of data that the runs were trained on; of crystals also
            what ASE reads and `-` for standard input.
        output: .parquet, .csv or .jsonl; written whole or not at all.
        batch_size: samples that go through a network together.
        options: which columns of tables hold ids, structures and formulas, and how many processes work.
        calibrated: show probabilities at the temperature fitted on validation.
        progress: called with the rows read and, where there is one input, their number.

    Raises:
        InputError: inputs that are not there, none of which anything could be read, or an output that is no table or
            one of the inputs.
    """
    check_output(output)
    kind = predictor.kind
    check_columns(kind, options)
    sources = kind.find(inputs)
    files = [path for source in sources for path in ([source] if isinstance(source, Path) else source or ())]
    if output.exists() and any(path.samefile(output) for path in files):
        raise InputError(f"-o {output} is one of the inputs: name another file")
    tally = Tally(0, 0, 0, dict.fromkeys(predictor.class_names, 0), 0.0, [])
    began = time.perf_counter()
    with open_table(output) as write:
        for piece in _pieces(kind, sources, options, tally.failures, progress):
            if isinstance(piece, tuple):
                table = predictor.failed(*piece)
            else:
                table = predictor.table(piece, batch_size=batch_size, jobs=options.jobs, calibrated=calibrated)
            write(table)
            tally.rows += len(table)
            errors = table["error"].dropna()
            tally.errors += len(errors)
            if tally.first_error is None and len(errors):
                tally.first_error = str(errors.iloc[0])
            tally.novel += int((~table["applicable"]).sum())
            for name, count in table["predicted"].value_counts().items():
                tally.classes[str(name)] += int(count)
        if tally.failures and len(tally.failures) == tally.rows:
            raise InputError(tally.failures[0])
        if not tally.rows:
            raise InputError(f"{listed(inputs)}: nothing to predict")
    tally.seconds = time.perf_counter() - began
    return tally


def _pieces(
    kind: Kind,
    sources: Sequence[Source],
    options: DataOptions,
    failures: list[str],
    progress: Progress,
) -> Iterator[Samples | tuple[str, str]]:
    """Read one input after another; of what cannot be read to its end its name comes, too, and a message."""
    done = 0

    def advance(read: int, total: int | None) -> None:
        progress(done + read, total if len(sources) == 1 else None)

    for source in sources:
        begun = done
        try:
            for samples in kind.pieces(source, options, sys.stdin.buffer, advance):
                yield samples
                begun += len(samples)
        except InputError as error:
            failures.append(str(error))
            yield str(source or STDIN), str(error)
        done = begun


def check_columns(kind: Kind, options: DataOptions) -> None:
    """Refuse columns that play no part in a kind of data.

    Raises:
        InputError: the first such one.
    """
    for name in ("id_column", "structure_column", "composition_column"):
        if (value := getattr(options, name)) is not None and name not in ABOUT[kind.name].options:
            raise InputError(f"--data.{name} {value}: the run was trained on {kind.unit}; leave it out")


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
        # What may be written is for the file system to say: permissions alone do not tell.
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"-o {path}: the folder cannot be written to ({error.strerror}); name another") from error


@contextmanager
def open_table(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Give a function that appends a frame; all have the same columns and types.

    Parquet gets a row group a frame. The file is there once all is written, and not at all if that fails.
    """
    check_output(path)
    suffix = path.suffix.lower()
    with written_whole(path) as beside, ExitStack() as opened:
        if suffix == ".parquet":
            writer: pq.ParquetWriter | None = None

            def write(frame: pd.DataFrame) -> None:
                nonlocal writer
                table = pa.Table.from_pandas(frame, preserve_index=False)
                if writer is None:
                    writer = opened.enter_context(pq.ParquetWriter(beside, table.schema))
                writer.write_table(table.cast(writer.schema))

            yield write
            return
        file = opened.enter_context(beside.open("w", newline="", encoding="utf-8"))
        if suffix == ".csv":
            yield lambda frame: frame.to_csv(file, index=False, header=file.tell() == 0, float_format=_DIGITS)
        else:
            yield lambda frame: frame.to_json(file, orient="records", lines=True, force_ascii=False, double_precision=9)
