"""Predictions of any number of inputs, piece by piece, into one file."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.crystals.folder import STDIN
from matcard.data.samples import Named
from matcard.errors import InputError, listed
from matcard.prediction.predictor import BATCH_SIZE
from matcard.prediction.writers import check_output, open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    from matcard.data.samples import Kind, Progress, Samples, Source
    from matcard.prediction.predictor import Predictor


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
    jobs: int | None = None,
    calibrated: bool = False,
    named: Named = Named(),  # noqa: B008
    stream: IO[bytes] | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Tally:
    """Predict all inputs in order and write a row for each; some thousand are held in memory at a time.

    Args:
        predictor: one run or several.
        inputs: files, patterns, folders, tables of the kind of data that the runs were trained on; of crystals also
            what ASE reads and `-` for standard input.
        output: .parquet, .csv or .jsonl; written whole or not at all.
        batch_size: samples that go through a network together.
        jobs: processes that parse files and build graphs, as in joblib.
        calibrated: show probabilities at the temperature fitted on validation.
        named: columns of ids, structures and formulas in tables.
        stream: standard input.
        progress: called with the rows read and, where there is one input, their number.

    Raises:
        InputError: inputs that are not there, none of which anything could be read, or an output that is no table or
            one of the inputs.
    """
    check_output(output)
    kind = predictor.kind
    kind.check_named(named)
    sources = kind.find(inputs)
    files = [path for source in sources for path in ([source] if isinstance(source, Path) else source or ())]
    if output.exists() and any(path.samefile(output) for path in files):
        raise InputError(f"-o {output} is one of the inputs: name another file")
    tally = Tally(0, 0, 0, dict.fromkeys(predictor.class_names, 0), 0.0, [])
    began = time.perf_counter()
    with open_table(output) as write:
        for samples in _pieces(kind, sources, named, stream or sys.stdin.buffer, tally.failures, jobs, progress):
            table = predictor.table(samples, batch_size=batch_size, jobs=jobs, calibrated=calibrated)
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
    named: Named,
    stream: IO[bytes],
    failures: list[str],
    jobs: int | None,
    progress: Progress,
) -> Iterator[Samples]:
    """Read one input after another; what cannot be read to its end is a row that says so, and a message."""
    done = 0

    def advance(read: int, total: int | None) -> None:
        progress(done + read, total if len(sources) == 1 else None)

    for source in sources:
        begun = done
        try:
            for samples in kind.pieces(source, named, stream, jobs, advance):
                yield samples
                begun += len(samples)
        except InputError as error:
            failures.append(str(error))
            yield kind.failed(str(source or STDIN), str(error))
        done = begun
