"""What is known of an element before training: the atom features of the original CGCNN."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32, Int

WIDTH = 92
"""Numbers an element: group, period, electronegativity and the like, one-hot by ranges."""


def atom_features(file: Path | None = None) -> Float32[np.ndarray, "Z+1 92"]:
    """Read the features of each element (Xie and Grossman, Phys. Rev. Lett. 120, 145301, 2018).

    Args:
        file: JSON that maps atomic numbers to 92 numbers each; by default the one that matminer ships.

    Returns:
        one row an atomic number, up to the last element of the file; rows of elements that the file lacks,
        and row 0, are zero.

    Raises:
        InputError: when the file is missing or is not of this form.
    """
    file = file or _shipped()
    try:
        rows = {int(number): row for number, row in json.loads(file.read_text()).items()}
        table = np.zeros((max(rows) + 1, WIDTH), dtype=np.float32)
        table[list(rows)] = np.asarray(list(rows.values()), dtype=np.float32).reshape(len(rows), WIDTH)
    except FileNotFoundError:
        raise InputError(f"there is no file of atom features {file}") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{file}: expected JSON that maps atomic numbers to {WIDTH} numbers each ({error})") from None
    return table


def without_features(table: Float32[np.ndarray, "Z+1 92"], numbers: Int[np.ndarray, " S"]) -> list[int]:
    """Give the atomic numbers among `numbers` that `table` has no features of, sorted."""
    known = np.flatnonzero(table.any(axis=1))
    return [int(number) for number in np.setdiff1d(numbers, known)]


def _shipped() -> Path:
    """Find matminer's file without importing matminer, which takes seconds."""
    package = importlib.util.find_spec("matminer")
    if package is None or not package.submodule_search_locations:
        raise InputError(
            "the atom features of CGCNN come with matminer, which is not installed: pip install matminer, "
            "or learn an embedding by atomic number"
        )
    return Path(package.submodule_search_locations[0]) / "utils" / "data_files" / "cgcnn_atom_feature.json"
