"""Writes flat arrays piece by piece, so that a build takes little memory and survives being killed."""

from __future__ import annotations

import io
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.arrays import write_header
from matcard.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matcard.crystals.arrays import Layout

_JOURNAL = "journal.json"


class ArrayWriter:
    """Appends to the `.npy` files of a folder to be, and notes on disk how far they are whole.

    Args:
        folder: where the files grow; what a writer that was killed left there is gone on with.
        layout: which arrays there are.

    Attributes:
        rows: the number of rows of each array that are written.
        note: what came with the last piece.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder = folder
        self.layout = layout
        try:
            journal = json.loads((folder / _JOURNAL).read_text(encoding="utf-8"))
            self.rows: dict[str, int] = journal["rows"]
            self.note: dict[str, Any] = journal["note"]
            self._cut()
        except (OSError, ValueError, TypeError, KeyError):
            self._start()

    def append(self, arrays: Mapping[str, np.ndarray], note: Mapping[str, Any] | None = None) -> None:
        """Append to all files, then note it; offsets come as those of the piece alone.

        Other files of the piece are to be written before; `note` is kept with the numbers of rows.
        """
        shifted = {name: arrays[name][1:] + self.rows[of] for name, of in self.layout.offsets.items()}
        for name, empty in self.layout.empty.items():
            array = shifted.get(name, arrays[name])
            with self._path(name).open("ab") as file:
                file.write(np.ascontiguousarray(array, dtype=empty.dtype).data)
                file.flush()
                os.fsync(file.fileno())
            self.rows[name] += len(array)
        self.note = dict(note or {})
        self._write_journal()

    def written(self, name: str) -> np.ndarray:
        """Map what is written of an array."""
        empty = self.layout.empty[name]
        shape = (self.rows[name], *empty.shape[1:])
        if not self.rows[name]:
            return empty
        return np.memmap(self._path(name), empty.dtype, "r", offset=len(self._npy_header(name, 0)), shape=shape)

    def finish(self, target: Path, content: Mapping[str, Any]) -> None:
        """Complete the files, with `content` in the header, and move them to `target`."""
        for name in self.layout.empty:
            with self._path(name).open("r+b") as file:
                file.write(self._npy_header(name, self.rows[name]))
        write_header(self.folder, content)
        (self.folder / _JOURNAL).unlink()
        self.folder.rename(target)

    def _start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name, empty in self.layout.empty.items():
            self._path(name).write_bytes(self._npy_header(name, 0) + empty.tobytes())
        self.rows = {name: len(empty) for name, empty in self.layout.empty.items()}
        self.note = {}
        self._write_journal()

    def _write_journal(self) -> None:
        # The arrays are safe on disk by now; should a power cut lose the note itself, the build starts anew.
        with written_whole(self.folder / _JOURNAL) as file:
            file.write_text(json.dumps({"rows": self.rows, "note": self.note}), encoding="utf-8")

    def _cut(self) -> None:
        """Take away what was written after the last note.

        Raises:
            ValueError: when a file is shorter than noted.
        """
        for name, empty in self.layout.empty.items():
            row = np.zeros_like(empty, shape=(1, *empty.shape[1:]))
            whole = len(self._npy_header(name, 0)) + self.rows[name] * row.nbytes
            if self._path(name).stat().st_size < whole:
                raise ValueError(f"{name}.npy is shorter than noted")
            os.truncate(self._path(name), whole)
        for note in self.folder.glob(".*"):
            note.unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _npy_header(self, name: str, rows: int) -> bytes:
        """Give the head of the array's file; numpy leaves room in it: its length is the same for any `rows`."""
        empty = self.layout.empty[name]
        head = io.BytesIO()
        layout = {"descr": empty.dtype.str, "fortran_order": False, "shape": (rows, *empty.shape[1:])}
        np.lib.format.write_array_header_1_0(head, layout)
        return head.getvalue()
