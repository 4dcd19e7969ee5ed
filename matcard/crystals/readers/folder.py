"""Folders of structure files with `id_prop.csv`, and structure files on their own."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from matcard.crystals.readers.batch import ID_COLUMNS, Batch
from matcard.crystals.readers.columns import as_ids, require_column
from matcard.crystals.readers.fields import AS_WRITTEN, read_fields
from matcard.crystals.readers.files import CHUNK, readable
from matcard.crystals.readers.raw import StructureError
from matcard.crystals.readers.structure_file import from_file, is_structure_file
from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from matcard.crystals.readers.batch import Wanted

LABELS = "id_prop.csv"
_NAMES = ("{}.cif", "{}.vasp", "{}.POSCAR", "POSCAR_{}", "{}")


def folder_batches(folder: Path, wanted: Wanted) -> Iterator[Batch]:
    """Read the files that `id_prop.csv` names; without it all structure files, if labels are not needed."""
    files = _files(folder)
    structures = [path for path in files.values() if is_structure_file(path)]
    if _has_labels(folder, files, wanted):
        return _labelled(folder, files, structures, wanted)
    return file_batches(structures, str(folder))


def label_columns(folder: Path, wanted: Wanted) -> list[str] | None:
    """Give the names of the labels in `id_prop.csv`; None where there are none and none are needed.

    Raises:
        InputError: when there is no such file, it cannot be read or lacks a column that is asked for.
    """
    files = _files(folder)
    if not _has_labels(folder, files, wanted):
        return None
    return list(_read_labels(folder / LABELS, files, wanted)[1].columns)


def file_batches(paths: Sequence[Path], name: str) -> Iterator[Batch]:
    """Read files of one structure each; the id is the name without its ending."""
    import pandas as pd

    if not paths:
        raise InputError(f"{name} holds no structure files (.cif, .vasp, POSCAR_*)")
    for k in range(0, len(paths), CHUNK):
        some = paths[k : k + CHUNK]
        ids = [re.sub(r"^POSCAR_|\.(cif|vasp|poscar)$", "", path.name, flags=re.IGNORECASE) for path in some]
        rows = range(k + 1, k + 1 + len(some))
        columns = pd.DataFrame(index=range(len(some)))
        payloads = [path.absolute() for path in some]  # workers may live on in an earlier working directory
        yield Batch(ids, rows, lambda row: str(paths[row - 1]), columns, payloads, from_file, len(paths))


def _files(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}


def _has_labels(folder: Path, files: Mapping[str, Path], wanted: Wanted) -> bool:
    if LABELS not in files and wanted.labels_needed:
        raise InputError(
            f"{folder} has {sum(map(is_structure_file, files.values()))} structure files but no {LABELS}; write one "
            "with id,label on a line for each file id.cif (or id.vasp, POSCAR_id)"
        )
    return LABELS in files


def _labelled(folder: Path, files: Mapping[str, Path], structures: Sequence[Path], wanted: Wanted) -> Iterator[Batch]:
    ids, columns = _read_labels(folder / LABELS, files, wanted)
    found = [_resolve(name, files) for name in ids]
    named = set(found)
    if unnamed := [path.name for path in structures if path not in named]:
        warnings.warn(
            f"{len(unnamed)} structure files of {folder} are not named in {LABELS} and not read: "
            f"{', '.join(unnamed[:5])}{', ...' if len(unnamed) > 5 else ''}; add them or move them away",
            MatcardWarning,
            stacklevel=2,
        )

    def where(row: int) -> str:
        path = found[row - 1]
        return f"{LABELS} row {row}" + (f" ({path.name})" if path else "")

    for k in range(0, len(ids), CHUNK):
        part = slice(k, k + CHUNK)
        yield Batch(
            ids=ids[part],
            rows=range(k + 1, k + 1 + len(ids[part])),
            where=where,
            columns=columns.iloc[part].reset_index(drop=True),
            payloads=[
                _missing(i) if path is None else path.absolute() for i, path in zip(ids[part], found[part], strict=True)
            ],
            decode=from_file,
            total=len(ids),
        )


def _missing(name: str | None) -> StructureError:
    looked = ", ".join(form.format(name) for form in _NAMES)
    return StructureError(f"no structure file (looked for {looked}); add the file or delete the row")


def _read_labels(path: Path, files: Mapping[str, Path], wanted: Wanted) -> tuple[list[str | None], pd.DataFrame]:
    """Read ids and the other columns; without a header the label takes the target's name."""
    import pandas as pd

    with readable(path):
        cells = pd.read_csv(path, header=None, dtype=str, skipinitialspace=True, **AS_WRITTEN)
        if cells.shape[1] < 2 and wanted.labels_needed:
            raise InputError(f"{path} has one column; write id,label on each line")
        header = _has_header(cells, files, wanted)
        names = list(cells.iloc[0]) if header else _names(cells.shape[1], wanted.target)
        ids = wanted.id_column or next((c for c in ID_COLUMNS if c in names), names[0])
        for option, column in (("id_column", ids), ("target", wanted.target)):
            if column is not None:
                require_column(column, names, str(path), option)
        table = read_fields(
            path, header=None, names=names, skiprows=int(header), dtype={ids: str}, skipinitialspace=True
        )
    return as_ids(table[ids].str.strip()), table.drop(columns=ids)


def _has_header(cells: pd.DataFrame, files: Mapping[str, Path], wanted: Wanted) -> bool:
    """Say whether the first line names columns: known names, or words above numbers, and no file."""
    import pandas as pd

    first = [str(cell).strip() for cell in cells.iloc[0]]
    if first[0] in (*ID_COLUMNS, wanted.id_column) or wanted.target in first[1:]:
        return True
    if _resolve(first[0], files) is not None or len(cells) < 2:
        return False
    numeric = cells.iloc[:, 1:].apply(pd.to_numeric, errors="coerce").notna()
    return bool((~numeric.iloc[0] & numeric.iloc[1:].all()).any())


def _names(count: int, target: str | None) -> list[str]:
    label = target or "target"
    return ["id", label, *(f"{label}_{k}" for k in range(2, count))][:count]


def _resolve(name: str | None, files: Mapping[str, Path]) -> Path | None:
    return next((files[form.format(name)] for form in _NAMES if form.format(name) in files), None)
