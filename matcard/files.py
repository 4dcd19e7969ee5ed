"""Files written whole or not at all, by one process at a time, or read, packed or not; errors in the user's words."""

from __future__ import annotations

import bz2
import codecs
import difflib
import glob
import gzip
import json
import lzma
import math
import re
import uuid
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import yaml
from filelock import FileLock, Timeout

from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


STDIN = "-"
"""The word for standard input."""
_PATIENCE = 1.0
"""Seconds that a lock is waited for without a word."""
_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NO_TEXT = re.compile(rb"[\x01-\x08\x0e-\x19\x1b-\x1f]")
_CONTROL = re.compile(rb"[\x80-\x9f]")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it becomes `path` at the end, and vanishes if writing fails.

    A reader, or another process that writes the same, sees the old file or the new one, never half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Let one process at a time make `path`; the others wait, and soon say so by a `MatcardWarning`.

    Args:
        path: what is made, in a folder that exists; the file of the lock stays beside it.
        doing: what the process that has the lock does, for the message, such as "builds the graphs".
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        warnings.warn(
            f"waiting for another process that {doing} (it holds the lock {lock.lock_file})",
            MatcardWarning,
            stacklevel=5,
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def readable(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong while the whole of `path` is read, `errors` included, into an `InputError`."""
    known: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, *errors)
    try:
        yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(f"{path} is not text (it holds the byte {byte:#04x}); save it as UTF-8") from error
    except known as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read: {said}; is it complete and of the kind its name says?") from error


class _Loader(yaml.SafeLoader):
    """Takes for text what YAML 1.2 takes for text (NO, off, 1_000, 007, 2024-05-01), and what PyYAML writes bare."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


for _tag, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": r"<<",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), None)


def read_yaml(path: Path) -> Any:
    """Read a YAML file; what YAML 1.2 takes for text stays text.

    Raises:
        InputError: it cannot be read or is not YAML; the line is named.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error


def to_json(value: Any, path: str | Path) -> None:
    """Write `value` whole as JSON: NaN and infinity as null, numpy numbers and arrays as plain ones."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it does not exist or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file ({error}); it may be damaged: write it again") from error


def tuples(value: Any) -> Any:
    """Give what a JSON file holds with tuples for lists, as fields of dataclasses have them, within mappings, too."""
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # an array or a number of numpy
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def first_free(path: Path) -> Path:
    """Give the path, or the first of path-2, path-3, ... that is not taken."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def plain_name(path: Path) -> str:
    """Give a file's name without the ending of a compression."""
    stem, _, ending = path.name.rpartition(".")
    return stem if stem and f".{ending.lower()}" in _OPENERS else path.name


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


_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """Give the folder `datasets` or `configs`, wherever this installation keeps it."""
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the folder {name!r} is missing from this installation of matcard; install it again")


def find_paths(
    words: Sequence[str], in_folder: Callable[[Path], list[Path]], takes: str, *, stdin: bool = True
) -> list[Path | None]:
    """Find the files and folders that are meant, in order; None stands for standard input.

    Patterns (quoted from the shell) are expanded in sorted order, `**` through folders.

    Args:
        words: of the command line.
        in_folder: what a folder stands for.
        takes: what inputs are, for messages.
        stdin: whether standard input may be one.

    Raises:
        InputError: a path that does not exist, a pattern that fits nothing, or standard input where it may not be one.
    """
    found: list[Path | None] = []
    for name in words:
        path = Path(name).expanduser()
        if name == STDIN and not stdin:
            raise InputError(f"{STDIN}: standard input is read for runs on crystals only; inputs are {takes}")
        if name == STDIN:
            found.append(None)
        elif path.exists():
            found += in_folder(path) if path.is_dir() else [path]
        elif matches := matching_files(name):
            found += [file for match in matches for file in (in_folder(match) if match.is_dir() else [match])]
        else:
            no_path = f"no such file or folder; inputs are {takes}"
            raise InputError(f"{name}: {'no file fits this pattern' if glob.has_magic(name) else no_path}")
    return found


LABELS = "id_prop.csv"
"""The table of ids and labels in a folder of structure files."""

FileKind = Literal["cif", "poscar", "parquet", "csv", "jsonl", "json", "xyz", "db", "other"]

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
