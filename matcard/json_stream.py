"""A large file of JSON, value by value."""

from __future__ import annotations

import codecs
import json
from typing import IO, TYPE_CHECKING, Any

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_ENDS = tuple(",]}: \t\r\n")


class JsonStream:
    """Gives the values of one JSON object or list in turn, so that the file is never whole in memory.

    NaN, which Python writes for numbers that are missing, is a number here.
    """

    _BLOCK = 1 << 22

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.path = path
        self._file = file
        self._text, self._at = "", 0
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._scan = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """Give the next character that is not blank, or nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def value(self) -> Any:
        """Give the value that comes next."""
        self.peek()
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError:
                if not self._read():
                    raise
                continue
            taken = end - self._at
            # A number at the end of a block may go on.
            if self._text[end : end + 1] in _ENDS or not self._read():
                self._at += taken
                return value

    def items(self) -> Iterator[Any]:
        """Give the items of a list one after the other."""
        rows = 0
        try:
            for _ in self._separated("[", "]"):
                yield self.value()
                rows += 1
        except json.JSONDecodeError as error:
            raise InputError(f"{self.path} is broken after row {rows}: {error}; fetch or write it again") from None

    def entries(self) -> Iterator[str]:
        """Give the keys of an object; the value of each is to be taken before the next."""
        for _ in self._separated("{", "}"):
            key = self.value()
            self._take(":")
            yield str(key)

    def _separated(self, start: str, end: str) -> Iterator[None]:
        self._take(start)
        if self.peek() != end:
            yield None
            while self.peek() == ",":
                self._at += 1
                yield None
        self._take(end)

    def _take(self, char: str) -> None:
        if self.peek() != char:
            raise json.JSONDecodeError(f"Expecting {char!r}", self._text, self._at)
        self._at += 1

    def _read(self) -> bool:
        block = self._file.read(self._BLOCK)
        self._text = self._text[self._at :] + self._decode(block, final=not block)
        self._at = 0
        return bool(block)
