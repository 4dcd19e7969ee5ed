"""From the structures of many rows to flat arrays, with a reason for each that could not be decoded."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcard.crystals.crystals import Crystals, offsets_from_counts
from matcard.crystals.readers.raw import Raw
from matcard.crystals.validate import first_bad_sites

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float64, Shaped

_NOTHING = Raw(np.zeros((3, 3)), (), np.zeros((0, 3)))


class Assembled(NamedTuple):
    """Crystals of all rows (empty where undecodable), the reason for each such row, the parsers' notes."""

    crystals: Crystals
    reasons: Shaped[np.ndarray, " N"]
    notes: list[tuple[str, ...]]


def assemble(ids: Shaped[np.ndarray, " N"], decoded: Sequence[Raw | str]) -> Assembled:
    """Lay decoded structures out flat.

    Args:
        ids: ids of the N rows.
        decoded: the structure of each row, or the reason why it has none.
    """
    reasons = np.full(len(decoded), None, dtype=object)
    raws: list[Raw] = []
    for i, result in enumerate(decoded):
        if isinstance(result, str):
            reasons[i] = result
        raws.append(_NOTHING if isinstance(result, str) else result)
    offsets = offsets_from_counts(np.array([len(raw.symbols) for raw in raws], dtype=np.int64))
    symbols = [symbol for raw in raws for symbol in raw.symbols]
    known = atomic_numbers()
    numbers = np.array([known.get(symbol, 0) for symbol in symbols], dtype=np.uint8)
    crystals = Crystals(
        ids=ids,
        lattice=_lattices(raws),
        offsets=offsets,
        numbers=numbers,
        frac_coords=np.concatenate([_NOTHING.frac_coords, *(raw.frac_coords for raw in raws)]),
    )
    for i, k in first_bad_sites(offsets, numbers == 0):
        symbol = raws[i].symbols[k]
        reasons[i] = f"site {k + 1} has the unknown element {symbol!r}; write its symbol (deuterium: H)"
    return Assembled(crystals, reasons, [raw.notes for raw in raws])


def lattice_from_parameters(parameters: Float64[np.ndarray, "N 6"]) -> Float64[np.ndarray, "N 3 3"]:
    """Give cells from a b c (angstrom) and alpha beta gamma (degrees), oriented as pymatgen does.

    c lies along z and a in the xz plane. Angles that close no cell give a flat one.
    """
    a, b, c = parameters[:, :3].T
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha, beta, gamma = np.radians(parameters[:, 3:]).T
        cosine = (np.cos(alpha) * np.cos(beta) - np.cos(gamma)) / (np.sin(alpha) * np.sin(beta))
        gamma_star = np.arccos(np.clip(cosine, -1, 1))
        zero = np.zeros_like(a)
        rows = [
            [a * np.sin(beta), zero, a * np.cos(beta)],
            [
                -b * np.sin(alpha) * np.cos(gamma_star),
                b * np.sin(alpha) * np.sin(gamma_star),
                b * np.cos(alpha),
            ],
            [zero, zero, c],
        ]
    return np.moveaxis(np.array(rows), 2, 0)


@cache
def atomic_numbers() -> dict[str, int]:
    """Element symbol -> atomic number; no isotopes (D, T) and no dummy (X)."""
    from ase.data import chemical_symbols

    return {symbol: z for z, symbol in enumerate(chemical_symbols) if z > 0}


def _lattices(raws: Sequence[Raw]) -> Float64[np.ndarray, "N 3 3"]:
    lattice = np.zeros((len(raws), 3, 3))
    by_parameters = np.array([raw.lattice.shape == (6,) for raw in raws], dtype=bool)
    if by_parameters.any():
        parameters = np.stack([raw.lattice for raw in raws if raw.lattice.shape == (6,)])
        lattice[by_parameters] = lattice_from_parameters(parameters)
    if not by_parameters.all():
        lattice[~by_parameters] = np.stack([raw.lattice for raw in raws if raw.lattice.shape != (6,)])
    return lattice
