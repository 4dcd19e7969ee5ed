"""Predictions of any number of inputs, piece by piece, into one file."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matcard.crystals.readers.batch import Wanted
from matcard.crystals.readers.structure_file import is_structure_file
from matcard.errors import InputError
from matcard.prediction.rows import read_rows
from matcard.prediction.run import BATCH_SIZE
from matcard.prediction.sources import find_inputs, input_batches
from matcard.prediction.writers import check_output, open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from matcard.crystals.readers.batch import Batch
    from matcard.prediction.ensemble import Ensemble


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
    """

    rows: int
    errors: int
    novel: int
    classes: dict[str, int]
    seconds: float
    failures: list[str]


@dataclass
class Reading:
    """Counts the rows that are read, of how many where `told` says that the batches know."""

    progress: Callable[[int, int | None], None]
    told: bool
    done: int = 0
    total: int | None = None

    def noted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Hand batches on and look at how many rows there are in all."""
        for batch in batches:
            self.total = batch.total if self.told else None
            yield batch

    def advance(self, rows: int) -> None:
        """Count rows that are done."""
        self.done += rows
        self.progress(self.done, self.total)


def predict_sources(
    ensemble: Ensemble,
    inputs: Sequence[str],
    output: Path,
    *,
    batch_size: int = BATCH_SIZE,
    jobs: int | None = None,
    calibrated: bool = False,
    wanted: Wanted | None = None,
    stream: IO[bytes] | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Tally:
    """Predict all inputs in order and write a row for each; some thousand are held in memory at a time.

    Args:
        ensemble: one run or several.
        inputs: structure files, patterns, folders, tables, what ASE reads, `-` for standard input.
        output: .parquet, .csv or .jsonl; written whole or not at all.
        batch_size: crystals that go through a network together.
        jobs: processes that parse files and build graphs, as in joblib.
        calibrated: show probabilities at the temperature fitted on validation.
        wanted: columns of ids and structures in tables.
        stream: standard input.
        progress: called with the rows read and, where there is one input, their number.

    Raises:
        InputError: inputs that are not there, none of which anything could be read, or an output that is no table or
            one of the inputs.
    """
    check_output(output)
    paths = find_inputs(inputs)
    if any(path is not None and output.exists() and path.samefile(output) for path in paths):
        raise InputError(f"-o {output} is one of the inputs: name another file")
    tally = Tally(0, 0, 0, dict.fromkeys(ensemble.class_names, 0), 0.0, [])
    began = time.perf_counter()
    batches = input_batches(paths, wanted or Wanted(labels_needed=False), stream or sys.stdin.buffer, tally.failures)
    reading = Reading(progress, told=len(paths) == 1 or all(path and is_structure_file(path) for path in paths))
    with open_table(output) as write:
        for rows in read_rows(reading.noted(batches), jobs, reading.advance):
            table = ensemble.table(rows, batch_size=batch_size, jobs=jobs, calibrated=calibrated)
            write(table)
            tally.rows += len(table)
            tally.errors += int(table["error"].notna().sum())
            tally.novel += int((~table["applicable"]).sum())
            for name, count in table["predicted"].value_counts().items():
                tally.classes[str(name)] += int(count)
        if tally.failures and len(tally.failures) == tally.rows:
            raise InputError(tally.failures[0])
        if not tally.rows:
            raise InputError(f"{', '.join(inputs)}: nothing to predict")
    tally.seconds = time.perf_counter() - began
    return tally
