"""What a file of crystals is by its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from matcard.files import plain_name

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
