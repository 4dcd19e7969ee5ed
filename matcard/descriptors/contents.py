"""What crystals consist of: reduced formulas and chemical systems."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols

if TYPE_CHECKING:
    from jaxtyping import Shaped

    from matcard.crystals.crystals import Crystals

    Content = tuple[tuple[int, int], ...]


def contents(crystals: Crystals) -> list[Content]:
    """Give the elements of each crystal: atomic number and number of sites, in the order of the numbers."""
    owners = np.repeat(np.arange(len(crystals)), crystals.num_sites)
    pairs, counts = np.unique(owners * 256 + crystals.numbers, return_counts=True)
    listed = list(zip((pairs % 256).tolist(), counts.tolist(), strict=True))
    ends = np.searchsorted(pairs // 256, np.arange(len(crystals) + 1)).tolist()
    return [tuple(listed[start:end]) for start, end in pairwise(ends)]


def reduced_formulas(crystals: Crystals) -> Shaped[np.ndarray, " N"]:
    """Give the reduced formulas, such as SrTiO3: by electronegativity, counts without a common divisor."""
    return np.array([_formula(content) for content in contents(crystals)], dtype=object)


@cache
def _formula(content: Content) -> str:
    from pymatgen.core.periodic_table import Element

    divisor = math.gcd(*(count for _, count in content))
    # Elements that form no compounds have no electronegativity on Pauling's scale; they come last.
    elements = [(Element.from_Z(number), count // divisor) for number, count in content]
    elements.sort(key=lambda item: (item[0].data.get("X") or math.inf, item[0].symbol))
    return "".join(f"{element.symbol}{count if count > 1 else ''}" for element, count in elements)


def chemical_systems(crystals: Crystals) -> Shaped[np.ndarray, " N"]:
    """Give the elements of each crystal, such as O-Sr-Ti."""
    symbols = [sorted(chemical_symbols[number] for number, _ in content) for content in contents(crystals)]
    return np.array(["-".join(some) for some in symbols], dtype=object)
