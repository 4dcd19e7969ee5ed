"""What is known of an element before training: the atom features of the original CGCNN."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32

WIDTH = 92
"""Numbers an element: group, period, electronegativity and the like, one-hot by ranges."""


def atom_features() -> Float32[np.ndarray, "Z+1 92"]:
    """Read the features of each element, as matminer ships them (Xie and Grossman, Phys. Rev. Lett. 120, 145301, 2018).

    Returns:
        one row an atomic number, up to the last element of the file; rows of elements that the file lacks,
        and row 0, are zero.

    Raises:
        InputError: when matminer is not installed.
    """
    rows = {int(number): row for number, row in json.loads(_shipped().read_text()).items()}
    table = np.zeros((max(rows) + 1, WIDTH), dtype=np.float32)
    table[list(rows)] = list(rows.values())
    return table


def _shipped() -> Path:
    """Find matminer's file without importing matminer, which takes seconds."""
    package = importlib.util.find_spec("matminer")
    if package is None or not package.submodule_search_locations:
        raise InputError(
            "the atom features of CGCNN come with matminer, which is not installed: pip install matminer, "
            "or learn an embedding by atomic number"
        )
    return Path(package.submodule_search_locations[0]) / "utils" / "data_files" / "cgcnn_atom_feature.json"
