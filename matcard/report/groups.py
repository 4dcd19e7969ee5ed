"""Groups of crystals and the share of each whose class is found."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from matcard.evaluation.confusion import ratio
from matcard.evaluation.statistics import wilson_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from jaxtyping import Bool, Float, Int, Shaped

    from matcard.crystals.crystals import Crystals
    from matcard.crystals.table import CrystalTable

SYMPREC = 0.1
"""Angstrom: wide enough for the residual forces of relaxed structures."""
MOST_SYMMETRIES = 1500
"""Of more crystals than this an evenly spaced part is looked at: spglib takes milliseconds a crystal."""

_SYSTEM_COLUMN = "crystal_system"
_LAST_NUMBER = {
    "triclinic": 2,
    "monoclinic": 15,
    "orthorhombic": 74,
    "tetragonal": 142,
    "trigonal": 167,
    "hexagonal": 194,
    "cubic": 230,
}
"""The last space group of each crystal system (International Tables A)."""
SYSTEMS = tuple(_LAST_NUMBER)
_SITE_EDGES = (1, 3, 5, 9, 13, 21, 41, 81, 161)
_SINGLE_VALUES = 8


def group_shares(groups: Shaped[np.ndarray, " n"], right: Bool[np.ndarray, " n"], order: Sequence[str]) -> pd.DataFrame:
    """Give `group`, `n`, `found`, `recall`, `low`, `high` (95 % Wilson) of each group, in the given order."""
    n = np.array([(groups == name).sum() for name in order], dtype=np.int64)
    found = np.array([right[groups == name].sum() for name in order], dtype=np.int64)
    return _shares("group", order, n, found)


def element_shares(crystals: Crystals, right: Bool[np.ndarray, " n"]) -> pd.DataFrame:
    """Give the same for each element: a crystal counts once for every element that it contains."""
    from ase.data import chemical_symbols

    owners = np.repeat(np.arange(len(crystals)), crystals.num_sites)
    pairs = np.unique(owners * 256 + crystals.numbers.astype(np.int64))
    numbers = pairs % 256
    n = np.bincount(numbers, minlength=256)
    found = np.bincount(numbers, weights=right[pairs // 256], minlength=256).astype(np.int64)
    present = np.flatnonzero(n)
    return _shares("element", [chemical_symbols[z] for z in present.tolist()], n[present], found[present])


def crystal_systems(table: CrystalTable) -> tuple[Shaped[np.ndarray, " n"], str]:
    """Give the crystal system of each crystal (empty where unknown), and where it comes from, in words.

    The source's column `crystal_system` is taken where it has one; else spglib finds the space groups.
    """
    if _SYSTEM_COLUMN in table.columns:
        values = table.columns[_SYSTEM_COLUMN].astype(str).str.strip().str.lower().to_numpy(dtype=object)
        return np.where(np.isin(values.astype(str), list(_LAST_NUMBER)), values, ""), f"column {_SYSTEM_COLUMN}"
    n = len(table)
    looked_at = np.unique(np.linspace(0, n - 1, min(n, MOST_SYMMETRIES)).astype(np.int64))
    systems = np.full(n, "", dtype=object)
    numbers = space_groups(table.crystals.take(looked_at))
    systems[looked_at] = [system_of(number) for number, _ in numbers]
    part = f", {MOST_SYMMETRIES:,} evenly chosen crystals" if n > MOST_SYMMETRIES else ""
    return systems, f"found by spglib within {SYMPREC} Å{part}"


def space_groups(crystals: Crystals) -> list[tuple[int, str]]:
    """Give number and symbol of each crystal's space group, by spglib; 0 and nothing where it finds none."""
    import spglib

    found = []
    with warnings.catch_warnings():
        # Until its version 3, spglib warns at each call that failures will be exceptions and no longer None.
        warnings.simplefilter("ignore", DeprecationWarning)
        for i in range(len(crystals)):
            sites = slice(int(crystals.offsets[i]), int(crystals.offsets[i + 1]))
            frac_coords, numbers = crystals.frac_coords[sites].tolist(), crystals.numbers[sites].tolist()
            try:
                dataset = spglib.get_symmetry_dataset((crystals.lattice[i].tolist(), frac_coords, numbers), SYMPREC)
            except spglib.SpglibError:
                dataset = None
            found.append((int(dataset.number), str(dataset.international)) if dataset else (0, ""))
    return found


def system_of(number: int) -> str:
    """Give the crystal system of a space group; none of number 0."""
    return next(name for name, last in _LAST_NUMBER.items() if number <= last) if number else ""


def site_bins(num_sites: Int[np.ndarray, " n"]) -> tuple[Shaped[np.ndarray, " n"], list[str]]:
    """Put crystals into bins by their number of sites; gives each one's bin and the bins that are not empty.

    Few different numbers are bins of their own.
    """
    values = np.unique(num_sites)
    edges = np.append(values, values[-1] + 1) if len(values) <= _SINGLE_VALUES else np.append(_SITE_EDGES, np.inf)
    names = [_bin_name(low, high) for low, high in pairwise(edges)]
    if len(values) <= _SINGLE_VALUES:
        names = [str(value) for value in values.tolist()]
    which = np.digitize(num_sites, edges) - 1
    bins = np.array([names[k] for k in which.tolist()], dtype=object)
    return bins, [name for k, name in enumerate(names) if (which == k).any()]


def _bin_name(low: float, high: float) -> str:
    if np.isinf(high):
        return f"{low:.0f} or more"
    return f"{low:.0f}–{high - 1:.0f}" if high - low > 1 else f"{low:.0f}"


def _shares(kind: str, names: Sequence[str], n: Int[np.ndarray, " k"], found: Int[np.ndarray, " k"]) -> pd.DataFrame:
    import pandas as pd

    low, high = wilson_bounds(found, n)
    recall: Float[np.ndarray, " k"] = ratio(found, n)
    return pd.DataFrame({kind: list(names), "n": n, "found": found, "recall": recall, "low": low, "high": high})
