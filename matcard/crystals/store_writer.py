"""Writes a store piece by piece, so that a build takes little memory and survives being killed."""

from __future__ import annotations

import io
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.graphs import EMPTY
from matcard.crystals.stored import ARRAYS, write_header
from matcard.files import written_whole

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.crystals.graphs import Graphs

_JOURNAL = "journal.json"


class StoreWriter:
    """Appends graphs to the `.npy` files of a store to be, and notes on disk how far they are whole.

    Args:
        folder: where the files grow; what a writer that was killed left there is gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.rows: dict[str, int] = json.loads((folder / _JOURNAL).read_text(encoding="utf-8"))
            self._cut()
        except (OSError, ValueError, TypeError, KeyError):
            self._start()

    @property
    def crystals(self) -> int:
        """The number of crystals that are written."""
        return self.rows["isolated"]

    def append(self, part: Graphs) -> None:
        """Append graphs to all files, then note it."""
        shifted = {
            "node_offsets": part.node_offsets[1:] + self.rows["numbers"],
            "edge_offsets": part.edge_offsets[1:] + self.rows["source"],
        }
        for name in ARRAYS:
            array = shifted.get(name, getattr(part, name))
            with self._path(name).open("ab") as file:
                file.write(np.ascontiguousarray(array, dtype=getattr(EMPTY, name).dtype).data)
                file.flush()
                os.fsync(file.fileno())
            self.rows[name] += len(array)
        self._note()

    def finish(self, target: Path, content: dict[str, Any]) -> None:
        """Complete the files, with `content` in the header, and move them to `target`."""
        for name in ARRAYS:
            with self._path(name).open("r+b") as file:
                file.write(_npy_header(name, self.rows[name]))
        write_header(self.folder, content)
        (self.folder / _JOURNAL).unlink()
        self.folder.rename(target)

    def _start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name in ARRAYS:
            self._path(name).write_bytes(_npy_header(name, 0) + getattr(EMPTY, name).tobytes())
        self.rows = {name: len(getattr(EMPTY, name)) for name in ARRAYS}
        self._note()

    def _note(self) -> None:
        # The arrays are safe on disk by now; should a power cut lose the note itself, the build starts anew.
        with written_whole(self.folder / _JOURNAL) as file:
            file.write_text(json.dumps(self.rows), encoding="utf-8")

    def _cut(self) -> None:
        """Take away what was written after the last note.

        Raises:
            ValueError: when a file is shorter than noted.
        """
        for name in ARRAYS:
            row = np.zeros_like(getattr(EMPTY, name), shape=(1, *getattr(EMPTY, name).shape[1:]))
            whole = len(_npy_header(name, 0)) + self.rows[name] * row.nbytes
            if self._path(name).stat().st_size < whole:
                raise ValueError(f"{name}.npy is shorter than noted")
            os.truncate(self._path(name), whole)
        for note in self.folder.glob(".*"):
            note.unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def _npy_header(name: str, rows: int) -> bytes:
    """Give the head of the array's file; numpy leaves room in it: its length is the same for any `rows`."""
    array = getattr(EMPTY, name)
    head = io.BytesIO()
    layout = {"descr": array.dtype.str, "fortran_order": False, "shape": (rows, *array.shape[1:])}
    np.lib.format.write_array_header_1_0(head, layout)
    return head.getvalue()
