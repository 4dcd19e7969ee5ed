"""What a file is by its name, and its content as bytes or text, compressed or not."""

from __future__ import annotations

import bz2
import codecs
import difflib
import glob
import gzip
import lzma
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 2_000
"""Rows that are read, decoded and checked at a time."""

LABELS = "id_prop.csv"
"""The table of ids and labels in a folder of structure files."""

FileKind = Literal["cif", "poscar", "parquet", "csv", "jsonl", "json", "xyz", "db", "other"]

_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ENDINGS: dict[str, FileKind] = {
    ".cif": "cif",
    ".mcif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".contcar": "poscar",
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".db": "db",
}
_POSCAR = re.compile(r"(POSCAR|CONTCAR)(?:[^A-Za-z](.*))?", re.IGNORECASE)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NO_TEXT = re.compile(rb"[\x01-\x08\x0e-\x19\x1b-\x1f]")
_CONTROL = re.compile(rb"[\x80-\x9f]")


def plain_name(path: Path) -> str:
    """Give a file's name without the ending of a compression."""
    stem, _, ending = path.name.rpartition(".")
    return stem if stem and f".{ending.lower()}" in _OPENERS else path.name


def file_kind(path: Path) -> FileKind:
    """Say what a file holds, by its name in any case: `NaCl.CIF.gz`, `POSCAR-x`, `x.poscar` and `CONTCAR` are known."""
    name = plain_name(path)
    return "poscar" if _POSCAR.fullmatch(name) else _ENDINGS.get(name[name.rfind(".") :].lower(), "other")


def is_structure_file(path: Path) -> bool:
    """Say whether a file holds one structure, or blocks of them, by its name."""
    return file_kind(path) in ("cif", "poscar")


def structure_name(path: Path) -> str:
    """Give the id that a structure file stands for: its name without what says the kind of file."""
    name = plain_name(path)
    if prefixed := _POSCAR.fullmatch(name):
        return prefixed[2] or name
    return Path(name).stem if file_kind(path) in ("cif", "poscar", "json") else name


def holds_crystals(source: str | Path) -> bool:
    """Say whether a path is by its name a source of crystals: a structure file, or a folder's table of labels."""
    path = Path(source)
    return path.name == LABELS or is_structure_file(path)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, uncompressed."""
    opener = _OPENERS.get(path.suffix.lower())
    return cast("IO[bytes]", opener(path)) if opener else path.open("rb")


def read_text(path: Path) -> str:
    """Read a file's text; see `decode_text`."""
    with open_bytes(path) as file:
        return decode_text(file.read())


def decode_text(content: bytes) -> str:
    """Give text that is UTF-8 with or without its mark, UTF-16 with it, or else Latin-1 (or Windows-1252).

    Raises:
        UnicodeDecodeError: it is none of these.
    """
    if content.startswith(_UTF16) and not content.startswith(codecs.BOM_UTF32_LE):
        return content.decode("utf-16")
    if (nul := content.find(b"\0")) >= 0:
        raise UnicodeDecodeError("utf-8", content, nul, nul + 1, "no text has this byte")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if _NO_TEXT.search(content):
            raise
        return content.decode("cp1252" if _CONTROL.search(content) else "latin-1")


def estimate_rows(file: Any, path: Path, rows: int) -> int | None:
    """Estimate how many rows `path` has from the share of it that `rows` rows took of the open `file`."""
    raw = getattr(file, "fileobj", file)  # of a gzip file the compressed bytes
    if isinstance(raw, (bz2.BZ2File, lzma.LZMAFile)):
        return None
    read: int = raw.tell()
    return max(rows, round(rows * path.stat().st_size / max(read, 1)))


def require_file(path: Path) -> None:
    """Say which file was probably meant when there is none at `path`.

    Raises:
        InputError: there is none.
    """
    if path.exists():
        return
    if not path.parent.is_dir():
        raise InputError(f"{path} does not exist, nor does the folder {path.parent}; correct --data.source")
    close = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir()])
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise InputError(f"{path} does not exist; correct --data.source{meant}")


def source_exists(source: str | Path) -> bool:
    """Say whether `source` is a file, a folder, or a pattern that some file fits."""
    return Path(source).expanduser().exists() or bool(matching_files(source))


def matching_files(source: str | Path) -> list[Path]:
    """Give what fits a pattern such as `new/*.cif`, sorted; nothing where `source` is no pattern."""
    if not glob.has_magic(str(source)):
        return []
    return [Path(name) for name in sorted(glob.glob(str(Path(source).expanduser()), recursive=True))]  # noqa: PTH207
