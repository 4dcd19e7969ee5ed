"""Crystals in files, folders, tables, databases, on standard input, as one stream of batches."""

from __future__ import annotations

from itertools import groupby
from typing import IO, TYPE_CHECKING

from matcard.crystals.readers.batch import Batch, Wanted
from matcard.crystals.readers.decode import from_cell
from matcard.crystals.readers.folder import file_batches
from matcard.crystals.readers.raw import StructureError
from matcard.crystals.readers.read import open_source
from matcard.crystals.readers.structure_file import is_structure_file
from matcard.errors import InputError
from matcard.prediction.inputs.stdin import stdin_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def structures_of(folder: Path) -> list[Path]:
    """Give what a folder stands for: its structure files if it has any, else what its `id_prop.csv` names."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_structure_file(path)]
    return files or [folder]


def input_batches(
    paths: Sequence[Path | None], wanted: Wanted, stream: IO[bytes], failures: list[str]
) -> Iterator[Batch]:
    """Read all inputs one after another; one that cannot be read at all, or not to its end, gives a row that says so.

    Args:
        paths: None stands for standard input.
        wanted: columns named by the user; labels are not needed.
        stream: standard input.
        failures: takes the message of each input that could not be read to its end.
    """
    for single, group in groupby(paths, key=lambda path: path is not None and is_structure_file(path)):
        some = list(group)
        if single:  # together, so that they are parsed in parallel
            yield from file_batches([path for path in some if path is not None], "the inputs")
            continue
        for path in some:
            try:
                yield from stdin_batches(stream) if path is None else open_source(path, wanted)
            except InputError as error:
                failures.append(str(error))
                yield _failed(str(path or "standard input"), str(error))


def _failed(name: str, message: str) -> Batch:
    import pandas as pd

    columns = pd.DataFrame(index=range(1))
    return Batch([None], [1], lambda row: name, columns, [StructureError(message)], from_cell, 1)
