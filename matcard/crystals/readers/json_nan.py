"""JSON as Python writes it, with NaN for numbers that are missing, made JSON that every parser takes."""

from __future__ import annotations

import re
from typing import IO

_NAN = re.compile(rb"NaN")
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_TAIL = re.compile(rb"(?:(?<!Na)Na?|\\+)?\Z")  # what the next bytes decide about
_OPEN = (b"N", b"Na", b"\\")


class NanAsNull:
    """Gives the bytes of a file of JSON with `null` for each NaN outside of texts, in constant memory.

    Matminer stores missing values so; the grammar of JSON has no NaN, and streaming parsers refuse it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._held = b""
        self._in_text = False

    def read(self, size: int = -1) -> bytes:
        """Give about `size` bytes; none at the end."""
        if size == 0:
            return b""
        while read := self._file.read(size):
            piece = self._held + read
            held = _TAIL.search(piece) if piece.endswith(_OPEN) else None
            self._held = held.group() if held else b""
            if whole := piece[: len(piece) - len(self._held)]:
                return self._replaced(whole)
        last, self._held = self._held, b""
        return last

    def _replaced(self, piece: bytes) -> bytes:
        parts, kept, seen = [], 0, 0
        for match in _NAN.finditer(piece) if b"NaN" in piece else ():
            self._pass(piece[seen : match.start()])
            if not self._in_text:
                parts += [piece[kept : match.start()], b"null"]
                kept = match.end()
            seen = match.end()
        self._pass(piece[seen:])
        return b"".join([*parts, piece[kept:]])

    def _pass(self, piece: bytes) -> None:
        """Keep track of whether a text is open after `piece`."""
        if b"\\" in piece:
            piece = _ESCAPE.sub(b"", piece)
        self._in_text ^= piece.count(b'"') % 2 == 1
