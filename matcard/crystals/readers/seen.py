"""The ids of a source so far, on disk: memory does not grow with their number."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CACHE_KIB = 16_384
"""What SQLite keeps in memory; the rest of its temporary file it writes out."""


class SeenIds:
    """The row in which each id stood first, in a temporary database that goes away with this object."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # an unnamed file, which is written only when it outgrows the cache
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")  # it need not outlive this process
        self._database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, row INTEGER) WITHOUT ROWID")

    def add(self, ids: Iterable[tuple[str, int]]) -> None:
        """Take ids with their rows that are known to be new."""
        self._database.executemany("INSERT INTO seen VALUES (?, ?)", ((_bytes(name), row) for name, row in ids))

    def first_row(self, name: str, row: int) -> int:
        """Give the row in which an id stood first; that is `row` if it is new."""
        key = _bytes(name)
        if self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, row)).rowcount:
            return row
        found: int = self._database.execute("SELECT row FROM seen WHERE id = ?", (key,)).fetchone()[0]
        return found


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
