"""Crystals on standard input: CIF text, JSON lines, or the paths of files."""

from __future__ import annotations

import json
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from matcard.crystals.readers.batch import Batch, Wanted
from matcard.crystals.readers.columns import table_batches
from matcard.crystals.readers.decode import from_cell
from matcard.crystals.readers.files import CHUNK
from matcard.crystals.readers.raw import Raw, StructureError
from matcard.crystals.readers.structure_file import from_file
from matcard.crystals.readers.tables import Piece, Table
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = "standard input"


def stdin_batches(stream: IO[bytes]) -> Iterator[Batch]:
    """Read crystals from a stream, told apart by its first line.

    * `{...`: JSON lines, each a pymatgen dict or a row as in a `.jsonl` table;
    * `data_...`, perhaps below comments: CIF text; each `data_` block is a crystal, named by it;
    * else: the path of a structure file on each line, as `find` prints them.

    Raises:
        InputError: there is nothing on it, or JSON rows without structures.
    """
    lines = (line.decode("utf-8", errors="replace").removeprefix("\ufeff") for line in stream)  # files joined by cat
    head: list[str] = []
    for line in lines:
        head.append(line)
        if line.strip() and not line.startswith("#"):
            break
    first = head[-1].strip() if head else ""
    whole = chain(head, lines)
    if first.startswith("{"):
        return table_batches(Table(NAME, _json_pieces(whole), unit="line", ragged=True), Wanted(labels_needed=False))
    if first.lower().startswith("data_"):
        return _batches(_cif_blocks(whole))
    if not first or first.startswith("#"):
        raise InputError(f"{NAME} is empty: expected CIF text, JSON lines, or the path of a file on each line")
    return _path_batches(line.rstrip("\r\n") for line in whole if line.strip())


def _json_pieces(lines: Iterable[str]) -> Iterator[Piece]:
    import pandas as pd

    numbered = enumerate(lines, start=1)
    while chunk := list(islice(numbered, CHUNK)):
        rows = {k: _json_row(line) for k, line in chunk if line.strip()}
        if rows:
            yield Piece(pd.DataFrame(list(rows.values()), index=pd.Index(list(rows)), dtype=object), None)


def _json_row(line: str) -> dict[str, Any]:
    """Give a line as a table's row; a structure's dict becomes one with a column of structures."""
    try:
        row = json.loads(line)
    except ValueError as error:
        return {"structure": StructureError(f"the line is not JSON: {error}")}
    if not isinstance(row, dict):
        return {"structure": StructureError(f"the line is a {type(row).__name__}; a JSON object {{...}} was expected")}
    if "sites" in row and "lattice" in row:
        return {"structure": row}
    return row


def _cif_blocks(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Cut CIF text before each `data_` line; what stands above the first goes with it."""
    block: list[str] = []
    name: str | None = None
    for line in lines:
        if line.lower().startswith("data_"):
            if name is not None:
                yield name, "".join(block)
                block = []
            name = line.split()[0][len("data_") :]
        block.append(line)
    yield name or "", "".join(block)


def _batches(blocks: Iterator[tuple[str, str]]) -> Iterator[Batch]:
    import pandas as pd

    done = 0
    while chunk := list(islice(blocks, CHUNK)):
        ids, texts = zip(*chunk, strict=True)
        rows = range(done + 1, done + 1 + len(chunk))
        columns = pd.DataFrame(index=range(len(chunk)))
        yield Batch(
            [name or str(row) for name, row in zip(ids, rows, strict=True)],
            rows,
            _where,
            columns,
            texts,
            from_cell,
            None,
        )
        done += len(chunk)


def _where(row: int) -> str:
    return f"{NAME} block {row}"


def _path_batches(paths: Iterator[str]) -> Iterator[Batch]:
    import pandas as pd

    while chunk := list(islice(paths, CHUNK)):
        named = dict(enumerate(chunk))
        columns = pd.DataFrame(index=range(len(chunk)))
        payloads = [Path(name) for name in chunk]
        yield Batch(
            [path.stem for path in payloads], range(len(chunk)), named.__getitem__, columns, payloads, _file, None
        )


def _file(path: Path) -> Raw:
    if not path.is_file():
        raise StructureError(f"{path}: no such file; a line of {NAME} is the path of a structure file")
    return from_file(path)
