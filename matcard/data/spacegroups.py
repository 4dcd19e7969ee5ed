"""The space groups of crystals, found by spglib."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import spglib

if TYPE_CHECKING:
    from matcard.crystals.crystals import Crystals

SYMPREC = 0.1
"""Angstrom: wide enough for the residual forces of relaxed structures."""


def symmetries(crystals: Crystals) -> list[Any | None]:
    """Give spglib's symmetry dataset of each crystal within `SYMPREC`, None where it finds none."""
    found: list[Any | None] = []
    with warnings.catch_warnings():
        # Until its version 3, spglib warns at each call that failures will be exceptions and no longer None.
        warnings.simplefilter("ignore", DeprecationWarning)
        for i in range(len(crystals)):
            sites = slice(int(crystals.offsets[i]), int(crystals.offsets[i + 1]))
            atoms = crystals.frac_coords[sites].tolist(), crystals.numbers[sites].tolist()
            try:
                found.append(spglib.get_symmetry_dataset((crystals.lattice[i].tolist(), *atoms), SYMPREC))
            except spglib.SpglibError:
                found.append(None)
    return found
