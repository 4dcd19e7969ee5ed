"""Charge-neutral ABX3 compositions over common ions, with Shannon's radii as pymatgen ships them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core.periodic_table import Element, Species

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

# Charge -> elements. Only ions that pymatgen has a Shannon radius for: no Sn2+, no As3- and the like.
A_IONS = {
    1: ("Li", "Na", "K", "Rb", "Cs", "Ag", "Tl"),
    2: ("Ca", "Sr", "Ba", "Cd", "Pb"),
    3: ("La", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Y", "Bi"),
}
B_IONS = {
    2: ("Mg", "Ca", "Sr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ge", "Cd", "Hg", "Pb"),
    3: ("Al", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Ga", "Ru", "Rh", "In"),
    4: ("Ti", "V", "Cr", "Mn", "Fe", "Co", "Ge", "Zr", "Nb", "Mo", "Ru", "Sn", "Ce", "Hf", "Ir", "Pt", "Pb"),
    5: ("V", "Nb", "Mo", "Sb", "Ta", "W", "U"),
}
X_IONS = {-1: ("F", "Cl", "Br", "I"), -2: ("O", "S")}

_NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
_GROWTH = 0.04  # angstrom a neighbour: the mean step from 8, 9 or 10 to 12 of the A ions that have both

T_RANGE = (0.80, 1.15)  # tolerance factors outside which no ABX3 compound is known in these five phases
MU_RANGE = (0.32, 0.75)  # likewise for the octahedral factor


@dataclass(frozen=True)
class Compositions:
    """ABX3 compositions: element symbols, atomic numbers and radii (angstrom) in the order A, B, X."""

    symbols: list[tuple[str, str, str]]
    numbers: UInt8[np.ndarray, "M 3"]
    radii: Float[np.ndarray, "M 3"]

    @property
    def formulas(self) -> list[str]:
        """Each composition as it is written, such as SrTiO3."""
        return [f"{a}{b}{x}3" for a, b, x in self.symbols]

    @property
    def tolerance_factor(self) -> Float[np.ndarray, " M"]:
        """Goldschmidt's t = (r_A + r_X) / (sqrt 2 (r_B + r_X)) (Naturwissenschaften 14 (1926) 477)."""
        a, b, x = self.radii.T
        return np.asarray((a + x) / (np.sqrt(2.0) * (b + x)))

    @property
    def octahedral_factor(self) -> Float[np.ndarray, " M"]:
        """The ratio r_B / r_X: an octahedron of touching anions leaves room for 0.414."""
        return np.asarray(self.radii[:, 1] / self.radii[:, 2])


def shannon_radius(symbol: str, charge: int, neighbours: int) -> float:
    """Give Shannon's ionic radius in angstrom (Acta Cryst. A 32 (1976) 751).

    Where the table stops short of the wanted coordination number, its largest entry is used and grows by
    0.04 angstrom a neighbour. Of two spin states the high one is taken, as in most oxides and halides
    of 3d metals.
    """
    species = Species(symbol, charge)
    table = species.element.data["Shannon radii"][str(charge)]
    known = max(n for n in range(1, neighbours + 1) if _NUMERALS[n - 1] in table)
    spins = table[_NUMERALS[known - 1]]
    spin: Any = "High Spin" if "High Spin" in spins else next(iter(spins))
    radius = species.get_shannon_radius(_NUMERALS[known - 1], spin=spin)
    return float(radius) + _GROWTH * (neighbours - known)


def enumerate_compositions() -> Compositions:
    """Give every neutral ABX3 whose tolerance and octahedral factors lie where these phases are found."""
    rows = [
        ((a, b, x), (shannon_radius(a, qa, 12), shannon_radius(b, qb, 6), shannon_radius(x, qx, 6)))
        for qx, qa, qb in itertools.product(X_IONS, A_IONS, B_IONS)
        if qa + qb + 3 * qx == 0
        for x, a, b in itertools.product(X_IONS[qx], A_IONS[qa], B_IONS[qb])
        if a != b
    ]
    everything = Compositions(
        [symbols for symbols, _ in rows],
        np.array([[Element(s).Z for s in symbols] for symbols, _ in rows], dtype=np.uint8),
        np.array([radii for _, radii in rows]),
    )
    t, mu = everything.tolerance_factor, everything.octahedral_factor
    kept = np.flatnonzero((t > T_RANGE[0]) & (t < T_RANGE[1]) & (mu > MU_RANGE[0]) & (mu < MU_RANGE[1]))
    return Compositions([everything.symbols[i] for i in kept], everything.numbers[kept], everything.radii[kept])
