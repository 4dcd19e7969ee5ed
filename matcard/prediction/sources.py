"""The inputs of a prediction, files, patterns, folders, tables, databases, standard input, as one stream of batches."""

from __future__ import annotations

import glob
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING

from matcard.crystals.readers.batch import Batch, Wanted
from matcard.crystals.readers.decode import from_cell
from matcard.crystals.readers.folder import file_batches
from matcard.crystals.readers.raw import StructureError
from matcard.crystals.readers.read import open_source
from matcard.crystals.readers.structure_file import is_structure_file
from matcard.errors import InputError
from matcard.prediction.stdin import stdin_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STDIN = "-"


def find_inputs(inputs: Sequence[str]) -> list[Path | None]:
    """Find the files and folders that are meant, in order; None stands for standard input.

    Patterns (quoted from the shell) are expanded in sorted order, `**` through folders. A folder stands for its
    structure files if it has any, else for what its `id_prop.csv` names.

    Raises:
        InputError: a path that does not exist, or a pattern that fits nothing.
    """
    found: list[Path | None] = []
    for name in inputs:
        path = Path(name).expanduser()
        if name == STDIN:
            found.append(None)
        elif path.exists():
            found += _in_folder(path) if path.is_dir() else [path]
        elif glob.has_magic(name):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
            if not matches:
                raise InputError(f"{name}: no file fits this pattern")
            found += [file for match in matches for file in (_in_folder(match) if match.is_dir() else [match])]
        else:
            raise InputError(
                f"{name}: no such file or folder; inputs are structure files, patterns such as 'new/*.cif', folders, "
                "tables, ASE databases, or - for standard input"
            )
    return found


def input_batches(
    paths: Sequence[Path | None], wanted: Wanted, stream: IO[bytes], failures: list[str]
) -> Iterator[Batch]:
    """Read all inputs one after another; one that cannot be read at all, or not to its end, gives a row that says so.

    Args:
        paths: of `find_inputs`.
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


def _in_folder(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_structure_file(path)]
    return files or [folder]


def _failed(name: str, message: str) -> Batch:
    import pandas as pd

    columns = pd.DataFrame(index=range(1))
    return Batch([None], [1], lambda row: name, columns, [StructureError(message)], from_cell, 1)
