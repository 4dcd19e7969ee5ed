"""From the words of a command line to files."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matcard.data.samples import Source

STDIN = "-"


def find_paths(words: Sequence[str], in_folder: Callable[[Path], list[Path]], takes: str) -> list[Path | None]:
    """Find the files and folders that are meant, in order; None stands for standard input.

    Patterns (quoted from the shell) are expanded in sorted order, `**` through folders.

    Args:
        words: of the command line.
        in_folder: what a folder stands for.
        takes: what inputs are, for messages.

    Raises:
        InputError: a path that does not exist, or a pattern that fits nothing.
    """
    found: list[Path | None] = []
    for name in words:
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


def files_alone(words: Sequence[str], in_folder: Callable[[Path], list[Path]], takes: str) -> list[Source]:
    """Find inputs as `find_paths` does, and refuse standard input.

    Raises:
        InputError: as `find_paths`, and for standard input.
    """
    found = find_paths(words, in_folder, takes)
    if None in found:
        raise InputError(f"{STDIN}: standard input is read for runs on crystals only; inputs are {takes}")
    return list(found)
