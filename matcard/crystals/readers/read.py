"""Reading: any source -> batches -> valid crystals and what was left out."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.crystals import Crystals
from matcard.crystals.readers.batch import Batch, Wanted
from matcard.crystals.readers.check import Reading, checked
from matcard.crystals.readers.columns import as_ids, scalars, table_batches
from matcard.crystals.readers.decode import from_ase, from_structure
from matcard.crystals.readers.files import require_file
from matcard.crystals.readers.folder import file_batches, folder_batches
from matcard.crystals.readers.frames import frame_batches, labels
from matcard.crystals.readers.matminer import matminer_json
from matcard.crystals.readers.structure_file import is_structure_file
from matcard.crystals.readers.tables import csv, json_lines, parquet
from matcard.crystals.source import matching_files
from matcard.crystals.table import CrystalTable
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from matcard.crystals.readers.raw import Raw


def read_crystals(
    source: str | Path,
    *,
    id_column: str | None = None,
    structure_column: str | None = None,
    target: str | None = None,
    labels_needed: bool = True,
    jobs: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> CrystalTable:
    """Read and validate all crystals of a source.

    Args:
        source: a table (.parquet, .csv, .jsonl, matminer's .json; all but the first also with .gz), a folder
            of structure files with `id_prop.csv`, a file of frames that ASE reads (.extxyz, .db, ...), a
            structure file, or a pattern of structure files such as `new/*.cif`. Lengths are in angstrom.
        id_column: the column with ids; by default the first known one (`material_id`, `id`, ...), else the
            number of the row.
        structure_column: a column of CIF text or pymatgen dicts; by default structures are found by name.
        target: the label's column, looked for before anything is parsed where the source lists its columns;
            in an `id_prop.csv` without header, the name that the label gets.
        labels_needed: False takes a folder without `id_prop.csv`.
        jobs: processes for parsing CIFs and structure files, as in joblib: -1 for all cores; None for one, or for
            what an enclosing `joblib.parallel_config` says.
        progress: called with the rows done and the number of rows, which may be an estimate, or None.

    Raises:
        InputError: when the source as a whole cannot be used. A row that cannot is left out, with its reason.
    """
    pieces = iter_crystals(
        source,
        id_column=id_column,
        structure_column=structure_column,
        target=target,
        labels_needed=labels_needed,
        jobs=jobs,
        progress=progress,
    )
    return join(list(pieces))


def iter_crystals(
    source: str | Path,
    *,
    id_column: str | None = None,
    structure_column: str | None = None,
    target: str | None = None,
    labels_needed: bool = True,
    jobs: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Iterator[CrystalTable]:
    """Read like `read_crystals`, some thousand rows at a time, so that memory does not grow with the source.

    Column types are settled per piece; ids are compared across all of them.
    """
    wanted = Wanted(id_column, structure_column, target, labels_needed)
    reading = Reading()
    yield from checked(open_source(source, wanted), str(source), jobs, progress, reading)
    reading.warn(str(source))


def from_structures(
    structures: Iterable[Any],
    ids: Sequence[str] | None = None,
    columns: Mapping[str, Sequence[Any]] | pd.DataFrame | None = None,
) -> CrystalTable:
    """Take `pymatgen.core.Structure` objects; ids default to the positions 0, 1, ...

    Raises:
        InputError: when ids or columns are not as many as the structures, or there are none.
    """
    return _from_objects("structures", list(structures), ids, columns, from_structure)


def from_atoms(
    atoms: Iterable[Any],
    ids: Sequence[str] | None = None,
    columns: Mapping[str, Sequence[Any]] | pd.DataFrame | None = None,
) -> CrystalTable:
    """Take `ase.Atoms` objects; ids default to the positions 0, 1, ..., columns to what stands in `info`.

    Raises:
        InputError: when ids or columns are not as many as the frames, or there are none.
    """
    import pandas as pd

    frames = list(atoms)
    if columns is None:
        columns = scalars(pd.DataFrame([labels(frame) for frame in frames], index=range(len(frames)), dtype=object))
    return _from_objects("atoms", frames, ids, columns, from_ase)


def open_source(source: str | Path, wanted: Wanted) -> Iterator[Batch]:
    """Choose the reader by what `source` is.

    Raises:
        InputError: when there is nothing there.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return folder_batches(path, wanted)
    if not path.exists() and glob.has_magic(str(source)):
        return file_batches(matching_files(source), str(source))
    require_file(path)
    for suffixes, table in _TABLES.items():
        if path.name.lower().endswith(suffixes):
            return table_batches(table(path, wanted), wanted)
    return file_batches([path], str(path)) if is_structure_file(path) else frame_batches(path, wanted)


_TABLES = {
    (".parquet",): parquet,
    (".csv", ".csv.gz"): csv,
    (".jsonl", ".jsonl.gz"): json_lines,
    (".json", ".json.gz"): matminer_json,
}


def _from_objects(
    name: str,
    objects: list[Any],
    ids: Sequence[str] | None,
    columns: Mapping[str, Sequence[Any]] | pd.DataFrame | None,
    decode: Callable[[Any], Raw],
) -> CrystalTable:
    import pandas as pd

    n = len(objects)
    names = as_ids(pd.Series(range(n) if ids is None else list(ids), dtype=object))
    frame = pd.DataFrame(index=range(n)) if columns is None else pd.DataFrame(columns).reset_index(drop=True)
    if not n == len(names) == len(frame):
        raise InputError(f"{n} {name}, {len(names)} ids, {len(frame)} rows of columns; give as many of each")
    batch = Batch(names, range(1, n + 1), lambda row: f"{name}[{row - 1}]", frame, objects, decode, n)
    return join(list(checked(iter([batch]), name, jobs=1)))


def join(tables: Sequence[CrystalTable]) -> CrystalTable:
    """Put the pieces of a source together."""
    return CrystalTable(
        Crystals.concatenate(table.crystals for table in tables),
        stack([table.columns for table in tables]),
        stack([table.left_out for table in tables]),
        np.concatenate([table.rows for table in tables]),
    )


def stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Join frames whose columns or types may differ; types are settled over all rows."""
    import pandas as pd

    if len(frames) > 1 and any(not frame.dtypes.equals(frames[0].dtypes) for frame in frames):
        frames = [frame.astype(object) for frame in frames]
    return pd.concat(frames, ignore_index=True).infer_objects()
