"""Reading: any source to crystals, each row with its structure or with what is wrong with it."""

from __future__ import annotations

import glob
import warnings
from dataclasses import astuple
from importlib.resources import files
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from matcard.cache import cache_dir, code_digest, files_digest, kept, map_arrays, read_frame, write_arrays, write_frame
from matcard.crystals.batches import STDIN, Batch, Folder, Wanted, as_row, file_batches, stream_batches, table_batches
from matcard.crystals.crystals import Crystal, Crystals, id_faults, is_none, objects
from matcard.crystals.decode import decode_some, labels_of, object_decoder
from matcard.crystals.validate import checked
from matcard.errors import InputError, MatcardWarning
from matcard.files import LABELS, file_kind, is_structure_file, matching_files, require_file
from matcard.parallel import in_order
from matcard.table_files import as_ids, open_table, scalars, valid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Progress = Callable[[int, int | None], None]
    Source = str | Path | IO[bytes] | list[Path] | tuple[Path, ...]

PARALLEL_ROWS = 20_000
"""Texts and files fewer than this are parsed sooner in one process than others are started."""

_TASK = 100
"""Structures that a process takes at once."""
_TOLD = 3
_PARSERS = ("ase", "gemmi", "spglib", "pandas", "pyarrow", "pymatgen", "pymatgen-core")
_MODULES = ("files.py", "symmetry.py", "table_files.py")
"""Modules that read, beside those of this package."""
_ROWS = ("ids", "where", "faults", "doubts")
_ARRAYS = ("lattice", "offsets", "numbers", "frac_coords")


class Reader(NamedTuple):
    """What reads a source."""

    name: str
    files: list[Path]
    """Those that its crystals come from; none of a stream."""
    batches: Callable[[], Iterator[Batch]]


def read_crystals(
    source: Source,
    *,
    id_column: str | None = None,
    structure_column: str | None = None,
    deuterium: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
    repeats: bool = False,
) -> Crystals:
    """Read and check every row of a source, in order; a row that cannot be used has a fault and stays.

    What is read is kept in the cache and found again by the content of the source's files and the code that reads:
    its arrays are then mapped files.

    Args:
        source: a table (.parquet, .csv, .jsonl, .json as pandas, matminer or JARVIS write it), a folder of structure
            files with or without `id_prop.csv`, that file itself, a file of frames that ASE reads (.extxyz, .db, ...),
            a structure file, a pattern of files such as `new/*.cif`, a list of files, or a stream of bytes with JSON
            lines, CIF text, or paths of files. All may be compressed (.gz, .bz2, .xz). Lengths are in angstrom.
        id_column: the column with ids; by default the first known one (`material_id`, `id`, ...), else the
            number of the row, or the name of the file.
        structure_column: a column of structures; by default structures are found by name, or by their look.
        deuterium: whether D in a CIF is read as hydrogen; else crystals with it have a fault.
        jobs: processes for parsing `PARALLEL_ROWS` texts or files and more, as in joblib: -1 for all cores; None for
            one, or for what an enclosing `joblib.parallel_config` says.
        progress: called with the rows done and the number of rows, which may be an estimate, or None; not where nothing
            is parsed.
        repeats: whether ids may be missing and repeat, as they may in prediction; else such rows are at fault.

    Raises:
        InputError: when the source as a whole cannot be used, or is changed while it is read.
    """
    wanted = Wanted(id_column, structure_column, deuterium)
    reader = _reader(source, wanted)
    if reader.files:
        crystals, told = _kept(reader, wanted, jobs, progress)
    else:
        crystals, told = _read(reader, jobs, progress, deuterium)
    for message in told:
        warnings.warn(message, MatcardWarning, stacklevel=2)
    return crystals if repeats else crystals.with_faults(id_faults(crystals.ids, crystals.where))


def from_objects(structures: Iterable[Any], ids: Sequence[str] | None = None, *, deuterium: bool = False) -> Crystals:
    """Take objects of pymatgen (`Structure`) and ASE (`Atoms`) and paths of structure files, mixed; past the cache.

    What stands in `info` of objects of ASE becomes columns.

    Args:
        structures: N of them.
        ids: of each; by default the positions 0, 1, ...
        deuterium: whether D in a CIF is read as hydrogen.

    Raises:
        InputError: an object of another kind, or ids that are not as many as the structures; no structures.
    """
    listed: list[Any] = [Path(item).expanduser() if isinstance(item, (str, PathLike)) else item for item in structures]
    for k, item in enumerate(listed):
        if not isinstance(item, Path) and object_decoder(item) is None:
            raise InputError(
                f"structures[{k}] is a {type(item).__name__}: a pymatgen Structure, an ase.Atoms or the path of a "
                "structure file was expected"
            )
    said = [labels_of(item) if hasattr(item, "info") else {} for item in listed]
    frame = scalars(pd.DataFrame(said, index=range(len(said)), dtype=object)).infer_objects()
    names = as_ids(pd.Series(range(len(listed)) if ids is None else list(ids), dtype=object))
    if not listed or len(listed) != len(names):
        raise InputError(f"{len(listed)} structures, {len(names)} ids; give one or more, and as many of each")
    where = [f"structures[{k}]" + (f" ({item})" if isinstance(item, Path) else "") for k, item in enumerate(listed)]
    batch = Batch(names, where, frame, listed, len(listed))
    return Crystals.concatenate(_checked(iter([batch]), 1, None, deuterium))


def _reader(source: Source, wanted: Wanted) -> Reader:
    """Look what there is: a folder with or without labels, some files, or a stream.

    Raises:
        InputError: when there is nothing there.
    """
    if not isinstance(source, (str, Path, list, tuple)):
        return Reader(STDIN, [], lambda: stream_batches(source, wanted))
    if isinstance(source, (list, tuple)):
        name, paths = f"{len(source)} files", list(source)
    else:
        name, path = str(source), Path(source).expanduser()
        if path.is_dir() or (path.name == LABELS and path.is_file()):
            folder = Folder(path if path.is_dir() else path.parent, wanted)
            return Reader(name, folder.files(), folder.batches)
        if path.exists() or not glob.has_magic(name):
            require_file(path)
            paths = [path]
        else:
            paths = [file for file in matching_files(source) if file.is_file()]
    return Reader(name, paths, lambda: _files_batches(paths, name, wanted))


def _kept(reader: Reader, wanted: Wanted, jobs: int | None, progress: Progress | None) -> tuple[Crystals, list[str]]:
    name, origin, _ = reader
    content = files_digest(origin)
    modules = [module for module in files("matcard.crystals").iterdir() if module.is_file()]
    code = code_digest([*modules, *map(files("matcard").joinpath, _MODULES)], _PARSERS)
    # Names stand in what is said of rows, and their endings choose the reader: of a table or labels without the folder.
    within = origin[0].name == LABELS or (len(origin) == 1 and not is_structure_file(origin[0]))
    decisive = [code, content, [path.name if within else str(path) for path in origin], *astuple(wanted)]

    def build(folder: Path) -> dict[str, Any]:
        crystals, told = _read(reader, jobs, progress, wanted.deuterium)
        if files_digest(origin) != content:
            where = origin[0] if len(origin) == 1 else origin[0].parent
            raise InputError(f"{where} was changed while it was read; try again when it is complete")
        write_arrays(folder, [{name: getattr(crystals, name) for name in _ARRAYS}])
        write_frame(pd.DataFrame({name: getattr(crystals, name) for name in _ROWS}), folder / "rows.parquet")
        write_frame(crystals.columns, folder / "columns.parquet")
        return {"source": name, "told": told}

    folder, noted = kept(cache_dir() / "crystals", decisive, f"the parsed crystals of {name}", build)
    rows = read_frame(folder / "rows.parquet")
    said = {name: rows[name].to_numpy(dtype=object) for name in _ROWS}
    return Crystals(**map_arrays(folder), **said, columns=read_frame(folder / "columns.parquet")), noted["told"]


def _read(reader: Reader, jobs: int | None, progress: Progress | None, deuterium: bool) -> tuple[Crystals, list[str]]:
    """Read all rows, and give what is to be said whenever the result is taken from the cache."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MatcardWarning)
        crystals = Crystals.concatenate(_checked(reader.batches(), jobs, progress, deuterium))
    told = []
    for warning in caught:
        if issubclass(warning.category, MatcardWarning):
            told.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not len(crystals):
        raise InputError(f"{reader.name} has no rows; is it the right file?")
    if len(doubtful := np.flatnonzero(~is_none(crystals.doubts))):
        first = "; ".join(f"{crystals.where[i]}: {crystals.doubts[i]}" for i in doubtful[:_TOLD])
        told.append(
            f"{len(doubtful)} doubts about structures of {reader.name}, which were read nevertheless; check them. "
            f"The first: {first}"
        )
    return crystals, told


def _files_batches(paths: Sequence[Path], name: str, wanted: Wanted) -> Iterator[Batch]:
    """Read files in order: those of structures together, tables and frames each by its own reader."""

    def is_one(path: Path) -> bool:
        return is_structure_file(path) or (len(paths) > 1 and file_kind(path) == "other")

    if not paths:
        yield from file_batches(paths, name)
    for single, group in groupby(paths, is_one):
        some = list(group)
        if single:
            yield from file_batches(some, name)
            continue
        for path in some:
            table = open_table(path, as_row)
            if table is not None:
                yield from table_batches(table, wanted)
                continue
            from matcard.crystals.frames import frame_batch  # ASE's readers take half a second

            yield frame_batch(path, wanted)


def _checked(
    batches: Iterator[Batch], jobs: int | None, progress: Progress | None, deuterium: bool
) -> Iterator[Crystals]:
    """Decode and check batches one after the other, in other processes where that is worth it."""
    done, alone = 0, True
    for number, batch in enumerate(batches):
        if number == 0 and (batch.total or 0) >= PARALLEL_ROWS:
            alone = not any(isinstance(one, (str, Path)) for one in batch.structures[:_TASK])
        if number == 0 and progress is not None:
            progress(0, batch.total)
        tasks = ((batch.structures[k : k + _TASK], deuterium) for k in range(0, len(batch.structures), _TASK))
        decoded: list[list[Crystal]] = []
        for part in in_order(decode_some, tasks, 1 if alone else jobs):
            decoded += part
            done += len(part)
            if progress is not None:
                progress(done, None if batch.total is None else max(done, batch.total))
        yield _laid_out(batch, decoded)


def _laid_out(batch: Batch, decoded: list[list[Crystal]]) -> Crystals:
    """Lay the structures of a batch out flat and give each row that cannot be used its fault."""
    parts = decoded if batch.blocks else [[_only(found)] for found in decoded]
    rows = [(k, one, one.name if len(part) > 1 else "") for k, part in enumerate(parts) for one in part]
    ids = [f"{batch.ids[k]}:{name}" if name else batch.ids[k] for k, _, name in rows]
    where = [f"{batch.where[k]} block {name}" if name else batch.where[k] for k, _, name in rows]
    found = [one for _, one, _ in rows]
    known = [valid(name or "") for name in ids]
    for one, name, text in zip(found, ids, known, strict=True):
        if name is not None and name != text:
            one.fault = f"the id {text} is no valid Unicode text; write it anew"
    columns = batch.columns.iloc[[k for k, _, _ in rows]].reset_index(drop=True)
    return checked(found, ids=known, where=objects(map(valid, where)), columns=columns)


def _only(found: list[Crystal]) -> Crystal:
    """Give the one structure of a cell of a table."""
    if len(found) == 1:
        return found[0]
    listed = ", ".join(one.name for one in found)
    return Crystal(fault=f"the CIF holds {len(found)} structures ({listed}); give each a file or row of its own")
