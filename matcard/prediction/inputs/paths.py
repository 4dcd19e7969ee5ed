"""From the words of a command line to files."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STDIN = "-"


def find_paths(inputs: Sequence[str], in_folder: Callable[[Path], list[Path]], takes: str) -> list[Path | None]:
    """Find the files and folders that are meant, in order; None stands for standard input.

    Patterns (quoted from the shell) are expanded in sorted order, `**` through folders.

    Args:
        inputs: words of the command line.
        in_folder: what a folder stands for.
        takes: what inputs are, for messages.

    Raises:
        InputError: a path that does not exist, or a pattern that fits nothing.
    """
    found: list[Path | None] = []
    for name in inputs:
        path = Path(name).expanduser()
        if name == STDIN:
            found.append(None)
        elif path.exists():
            found += in_folder(path) if path.is_dir() else [path]
        elif glob.has_magic(name):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
            if not matches:
                raise InputError(f"{name}: no file fits this pattern")
            found += [file for match in matches for file in (in_folder(match) if match.is_dir() else [match])]
        else:
            raise InputError(f"{name}: no such file or folder; inputs are {takes}")
    return found


def files_alone(inputs: Sequence[str], endings: tuple[str, ...], takes: str) -> list[Path | None]:
    """Find inputs that are files with one of `endings`, which a folder stands for, and never standard input.

    Raises:
        InputError: as `find_paths`, and for anything else.
    """

    def in_folder(folder: Path) -> list[Path]:
        files = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(endings)]
        if not files:
            raise InputError(f"{folder} holds no file that ends in {', '.join(endings)}")
        return files

    found = find_paths(inputs, in_folder, takes)
    for path in found:
        if path is None:
            raise InputError(f"{STDIN}: standard input is read for runs on crystals only; inputs are {takes}")
        if not path.name.lower().endswith(endings):
            raise InputError(f"{path}: inputs of this run are {takes}, by the endings {', '.join(endings)}")
    return found
