"""Rows of crystals, still undecoded: those of tables, of a folder and its `id_prop.csv`, and of standard input."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from matcard.crystals.crystals import UNNAMED
from matcard.crystals.decode import looks_like_structure
from matcard.errors import InputError, MatcardWarning, StructureError
from matcard.files import LABELS, decode_text, is_structure_file, readable, structure_name
from matcard.table_files import (
    CHUNK,
    ID_COLUMNS,
    INDEX,
    Piece,
    Table,
    as_ids,
    ids_column,
    json_rows,
    read_csv,
    require_column,
    scalars,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence


_LATTICES = ("lattice_abc_angles", "lattice")
_SITES = ("species", "frac_coords")
_WHOLE = ("structure", "cif")
STRUCTURE_COLUMNS = (*_LATTICES, *_SITES, *_WHOLE)
"""Columns that may hold structures, or a part of them, by name."""


@dataclass(frozen=True)
class Wanted:
    """The columns that the caller named, and whether D in a CIF is read as hydrogen."""

    id_column: str | None = None
    structure_column: str | None = None
    deuterium: bool = False


class Batch(NamedTuple):
    """N rows of a source: ids (None where missing), where they stand, their scalar columns, undecoded structures.

    `structures` are what `matcard.crystals.decode` takes. A file of several blocks is one row for each where
    `blocks` says so. `total` is the number of rows of the whole source, estimated or None.
    """

    ids: Sequence[str | None]
    where: Sequence[str]
    columns: pd.DataFrame
    structures: Sequence[Any]
    total: int | None
    blocks: bool = False


def table_batches(table: Table, wanted: Wanted) -> Iterator[Batch]:
    """Give the rows of a table with their structures still undecoded.

    Raises:
        InputError: when a named column is not there, or no structure is recognised.
    """
    id_column: str | None = None
    structure: tuple[str, ...] = ()
    for frame, total in table.pieces:
        if not structure:
            id_column, structure = _roles(frame, table.name, wanted)
        cells = frame.reindex(columns=list(structure))
        kept = frame.drop(columns=[c for c in (id_column, INDEX, *STRUCTURE_COLUMNS, *structure) if c in frame])
        numbers = frame.index.tolist()
        ids = frame.reindex(columns=[id_column])[id_column] if id_column is not None else None
        yield Batch(
            [str(k) for k in numbers] if ids is None else as_ids(ids),
            [f"{table.name} {table.unit} {k}" for k in numbers],
            scalars(kept).reset_index(drop=True),
            list(cells.iloc[:, 0] if len(structure) == 1 else cells.itertuples(index=False, name=None)),
            total,
        )


def structure_columns(columns: Container[str]) -> tuple[str, ...]:
    """Give the one or three columns that are taken for structures by name; none where there are none."""
    lattice = next((c for c in _LATTICES if c in columns), None)
    if lattice is not None and all(c in columns for c in _SITES):
        return (lattice, *_SITES)
    return tuple(c for c in _WHOLE if c in columns)[:1]


def _roles(frame: pd.DataFrame, name: str, wanted: Wanted) -> tuple[str | None, tuple[str, ...]]:
    """Find the column with the ids, if any, and the one or three with the structure, by name or by look."""
    columns = list(frame.columns)
    ids = ids_column(columns, wanted.id_column, name) or (INDEX if INDEX in columns else None)
    if wanted.structure_column is not None:
        require_column(wanted.structure_column, columns, name, "structure_column")
    structure = (wanted.structure_column,) if wanted.structure_column else structure_columns(columns)
    if not structure:
        objects = [c for k, c in enumerate(columns) if frame.dtypes.iloc[k].kind == "O"]
        structure = tuple(c for c in objects if looks_like_structure(next(iter(frame[c].dropna()), None)))[:1]
    if not structure:
        raise InputError(
            f"{name}: no column with structures among {', '.join(map(repr, columns))}; looked for "
            f"lattice_abc_angles or lattice, with species and frac_coords; {' or '.join(_WHOLE)}. "
            "Name a column of CIF text or pymatgen dicts with --data.structure_column"
        )
    return ids, structure


def as_row(value: Any) -> Any:
    """Give the row that an object of JSON stands for, which may be a structure itself."""
    return {"structure": value} if looks_like_structure(value) and "atoms" not in value else value


STDIN = "standard input"
_SHOWN = 5
_OF_CRYSTAL = re.compile(r"(?im)^[ \t]*_(cell[_.](length|angle)|atom_site[_.])")
_LOOKED_FOR = "{0}.cif, {0}.vasp, {0}.poscar, POSCAR_{0}, CONTCAR_{0}, {0}, also with .gz"


class Folder:
    """The files of a folder and the ids that they stand for.

    Args:
        path: the folder.
        wanted: the columns of `id_prop.csv` that the caller named.

    Attributes:
        structures: its structure files, sorted by name.
        has_labels: whether it has an `id_prop.csv`.
    """

    def __init__(self, path: Path, wanted: Wanted = Wanted()) -> None:
        self.path, self.wanted = path, wanted
        with readable(path):
            self._by_name = {file.name: file for file in sorted(path.iterdir()) if file.is_file()}
        self.structures = [file for file in self._by_name.values() if is_structure_file(file)]
        self.has_labels = LABELS in self._by_name
        self._by_lower_case: dict[str, list[Path]] = defaultdict(list)
        for file in self.structures if self.has_labels else ():
            self._by_lower_case[structure_name(file).casefold()].append(file)

    def find(self, name: str) -> Path | StructureError:
        """Give the file that an id stands for; names in another case are taken where one alone fits."""
        similar = self._by_lower_case.get(name.casefold(), ())
        if exact := [file for file in similar if structure_name(file) == name]:
            # A CIF comes before others, and a plain file before a compressed one.
            return min(exact, key=lambda file: (".cif" not in file.name.lower(), len(file.suffixes), file.name))
        if name in self._by_name:
            return self._by_name[name]
        if len(similar) > 1:
            listed = ", ".join(file.name for file in similar)
            return StructureError(
                f"{listed} differ from {name!r} by upper and lower case; rename the one that is meant"
            )
        if similar:
            return similar[0]
        if is_structure_file(Path(name)) and (stem := structure_name(Path(name))) != name:
            return self.find(stem)  # the file may have been packed, or renamed by another system, since it was named
        return StructureError(
            f"no structure file (looked for {_LOOKED_FOR.format(name)}); add the file or delete the row"
        )

    @cached_property
    def labels(self) -> tuple[list[str | None], pd.DataFrame]:
        """Ids and the other columns of `id_prop.csv`, indexed by line.

        Raises:
            InputError: it cannot be read, or lacks the column of ids that is asked for.
        """
        path = self._by_name[LABELS]
        with readable(path):
            cells = read_csv(path, header=None, dtype=str, skipinitialspace=True)
            for separator, called in ((";", "semicolons"), ("\t", "tabs")):
                if cells.shape[1] == 1 and separator in str(cells.iloc[0, 0]):
                    raise InputError(f"{path}: its columns are separated by {called}; write commas, as in id,label")
            header = self._has_header(cells)
            names = (
                list(cells.iloc[0])
                if header
                else ["id", UNNAMED, *(f"column {k}" for k in range(3, cells.shape[1] + 1))][: cells.shape[1]]
            )
            ids = ids_column(names, self.wanted.id_column, str(path)) or names[0]
            table = read_csv(
                path,
                lines=True,
                header=None,
                names=names,
                skiprows=int(header),
                dtype={ids: str},
                skipinitialspace=True,
            )
        return as_ids(table[ids].str.strip()), table.drop(columns=ids)

    def files(self) -> list[Path]:
        """Give the files that the folder's crystals come from; others, such as a log that grows, play no part."""
        if not self.has_labels:
            return self.structures
        named = [self.find(name) for name in self.labels[0] if name is not None]
        found = {file for file in named if isinstance(file, Path)}
        return [self._by_name[LABELS], *sorted(found)]

    def batches(self) -> Iterator[Batch]:
        """Give the files that `id_prop.csv` names; without it all structure files."""
        if not self.has_labels:
            yield from file_batches(self.structures, str(self.path))
            return
        ids, columns = self.labels
        found = [None if name is None else self.find(name) for name in ids]
        first: dict[Path, int] = {}
        for k, file in enumerate(found):
            if isinstance(file, Path) and ids[first.setdefault(file, k)] != ids[k]:
                line = columns.index[first[file]]
                found[k] = StructureError(f"{file.name} is that of line {line}, too; delete one row")
        named = {file for file in found if isinstance(file, Path)}
        if unnamed := [file.name for file in self.structures if file not in named]:
            warnings.warn(
                f"{len(unnamed)} structure files of {self.path} are not named in {LABELS} and not read: "
                f"{', '.join(unnamed[:_SHOWN])}{', ...' if len(unnamed) > _SHOWN else ''}; add them or move them away",
                MatcardWarning,
                stacklevel=2,
            )
        for k in range(0, len(ids), CHUNK):
            part = slice(k, k + CHUNK)
            where = [
                f"{LABELS} line {line}" + (f" ({file.name})" if isinstance(file, Path) else "")
                for line, file in zip(columns.index[part], found[part], strict=True)
            ]
            yield Batch(ids[part], where, columns.iloc[part].reset_index(drop=True), found[part], len(ids))

    def _has_header(self, cells: pd.DataFrame) -> bool:
        """Say whether the first line names columns: a known name, or no file beside cells that stand nowhere below."""
        first = [str(cell).strip() for cell in cells.iloc[0]]
        if first[0] in (*ID_COLUMNS, self.wanted.id_column):
            return True
        if isinstance(self.find(first[0]), Path) or len(cells) < 2:
            return False
        words = pd.to_numeric(cells.iloc[0, 1:], errors="coerce").isna()
        again = [cells.iloc[1:, k].str.strip().eq(first[k]).any() for k in range(1, len(first))]
        return bool(words.all()) and not any(again)


def file_batches(paths: Sequence[Path], name: str) -> Iterator[Batch]:
    """Give files of one structure or of several blocks each.

    Raises:
        InputError: there are none.
    """
    if not paths:
        raise InputError(f"{name} holds no structure files (.cif, .vasp, POSCAR_*)")
    for k in range(0, len(paths), CHUNK):
        some = [path.absolute() for path in paths[k : k + CHUNK]]  # workers may live on in an earlier working directory
        ids, columns = [structure_name(path) for path in some], pd.DataFrame(index=range(len(some)))
        yield Batch(ids, [str(path) for path in paths[k : k + CHUNK]], columns, some, len(paths), blocks=True)


def stream_batches(stream: IO[bytes], wanted: Wanted) -> Iterator[Batch]:
    """Read crystals from a stream, told apart by its first line.

    * `{...`: JSON lines, each a structure's dict or a row as in a `.jsonl` table;
    * `data_...`, perhaps below comments: CIF text; each `data_` block is a crystal, named by it; those that have
      neither cell nor sites, such as `data_global` of journals, are passed over beside others;
    * else: the path of a structure file on each line, as `find` prints them.

    Raises:
        InputError: there is nothing on it, or JSON rows without structures.
    """
    content = stream.read()
    lines = (decode_text(line).strip() for line in content.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if not first:
        raise InputError(f"{STDIN} is empty: expected CIF text, JSON lines, or the path of a file on each line")
    if first.startswith("{"):
        yield from table_batches(Table(STDIN, _json_pieces(content.splitlines()), "line"), wanted)
    elif first.lower().startswith("data_"):
        above, *blocks = re.split(r"(?im)^(?=[ \t]*data_)", decode_text(content).replace("\ufeff", ""))
        blocks[0] = above + blocks[0]
        names = [found[1] for text in blocks if (found := re.search(r"(?im)^[ \t]*data_(\S*)", text))]
        kept = [k for k, text in enumerate(blocks) if _OF_CRYSTAL.search(text)] or range(len(blocks))
        blocks, ids = [blocks[k] for k in kept], [names[k] or str(k + 1) for k in kept]
        where = [f"{STDIN} block {k + 1}" for k in kept]
        yield Batch(ids, where, pd.DataFrame(index=range(len(blocks))), blocks, len(blocks))
    else:
        paths = [line.rstrip(b"\r") for line in content.split(b"\n") if line.strip()]
        yield from file_batches([Path(decode_text(path)) for path in paths], STDIN)


def _json_pieces(lines: Sequence[bytes]) -> Iterator[Piece]:
    for rows in json_rows(lines, as_row):
        listed = [row if isinstance(row, dict) else {"structure": StructureError(str(row))} for row in rows.values()]
        yield Piece(pd.DataFrame(listed, index=pd.Index(list(rows)), dtype=object), len(lines))
