"""The embedded data set: synthetic perovskites in five phases, drawn by rules from what pymatgen knows of ions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pymatgen.core.periodic_table import Element, Species

from matcard.crystals.crystals import Crystals, objects
from matcard.data.perovskite_layouts import PHASES, build, sites

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int64, UInt8

    from matcard.data.perovskite_layouts import Phase

    Vector = Float[np.ndarray, " M"]

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

_THERMAL = 0.08  # angstrom along each axis at 300 K, root mean square, of a site of mobility 1
_MOBILITY = np.array([1.0, 0.7, 1.1])  # of A, B and X: the caged B moves least
_TEMPERATURES = (100.0, 800.0)  # kelvin
_STRAIN = 0.012  # standard deviation of a component of the strain
_BOND_SPREAD = 0.01  # relative standard deviation of a crystal's bond lengths from the sums of radii
_DISTORTION_SPREAD = 0.25  # standard deviation of the logarithm of the distortion
_LARGEST_DISTORTION = 0.55  # radians of tilt, beyond which anions run into each other
_DECIMALS = 6  # kept of lattices (angstrom) and fractional coordinates, so that all platforms agree


def perovskite_phases(seed: int = 0) -> Crystals:
    """Make synthetic ABX3 crystals in five phases, one of them rare: the data set that matcard brings along.

    Charge-neutral compositions over common ions, Shannon radii, phases by Goldschmidt's tolerance factor and
    the octahedral factor with overlap, tilts and polar shifts that grow as the tolerance factor leaves 1,
    thermal displacements and strain. The same seed gives the same crystals to the last digit; every seed
    gives the same number of each phase.

    Args:
        seed: another seed gives other crystals.

    Returns:
        4,400 crystals in random order with the columns `formula`, `phase` (the class), `tolerance_factor`,
        `octahedral_factor` and `spacegroup` (a number; that of the undisturbed phase, so it is the class by
        another name).
    """
    compositions, rng = enumerate_compositions(), np.random.Generator(np.random.PCG64(seed))
    drawn = [_of_phase(phase, compositions, rng) for phase in PHASES]
    phase = np.repeat(np.arange(len(PHASES)), [len(which) for which, _ in drawn])
    order = rng.permutation(len(phase))
    which, phase = np.concatenate([which for which, _ in drawn])[order], phase[order]
    columns = pd.DataFrame(
        {
            "formula": np.array(compositions.formulas, dtype=object)[which],
            "phase": np.array([phase.name for phase in PHASES], dtype=object)[phase],
            "tolerance_factor": compositions.tolerance_factor[which].round(6),
            "octahedral_factor": compositions.octahedral_factor[which].round(6),
            "spacegroup": np.array([phase.number for phase in PHASES])[phase],
        }
    )
    ids = objects(f"perovskite-{i:04d}" for i in range(len(order)))
    return replace(Crystals.concatenate(crystals for _, crystals in drawn).take(order), ids=ids, columns=columns)


def _of_phase(
    phase: Phase, compositions: Compositions, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " n"], Crystals]:
    """Draw the crystals of one phase, without ids, and which composition each has."""
    rule, site = RULES[phase.name], sites(phase)
    t, n = compositions.tolerance_factor, rule.count
    cumulative = np.cumsum(np.exp(rule.log_likelihood(t, compositions.octahedral_factor)))
    which = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    a, b, x = compositions.radii[which].T * (1.0 + _BOND_SPREAD * rng.standard_normal(n))
    distortion = rule.distortion(t[which]) * np.exp(_DISTORTION_SPREAD * rng.standard_normal(n))
    lattice, frac = build(phase, a + x, b + x, np.minimum(distortion, _LARGEST_DISTORTION))
    strain = _STRAIN * rng.standard_normal((n, 3, 3))
    lattice = lattice @ (np.eye(3) + (strain + strain.transpose(0, 2, 1)) / 2.0)
    kelvin = rng.uniform(*_TEMPERATURES, n)
    amplitude = _THERMAL * np.sqrt(kelvin / 300.0)[:, None, None] * _MOBILITY[site][:, None]
    frac = frac + amplitude * rng.standard_normal(frac.shape) @ np.linalg.inv(lattice)
    return which, Crystals(
        np.full(n, "", dtype=object),
        lattice.round(_DECIMALS),
        len(site) * np.arange(n + 1),
        compositions.numbers[which][:, site].ravel(),
        frac.reshape(-1, 3).round(_DECIMALS) % 1.0,
    )


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


@dataclass(frozen=True)
class Rule:
    """What there is of a phase.

    Attributes:
        count: crystals of it in the data set.
        log_likelihood: (t, mu), the tolerance and octahedral factors (M,) of compositions -> how readily each
            is met among the crystals of the phase (M,), up to a constant.
        distortion: t -> the distortion about which crystals scatter, as `build` takes it.
    """

    count: int
    log_likelihood: Callable[[Vector, Vector], Vector]
    distortion: Callable[[Vector], Vector]


def _around(x: Vector, centre: float, width: float) -> Vector:
    return np.asarray(-0.5 * np.square((x - centre) / width))


def _below(x: Vector, edge: float, width: float) -> Vector:
    return np.asarray(-np.logaddexp(0.0, (x - edge) / width))


def _tilt(t: Vector) -> Vector:
    """Tilt in radians: rigid octahedra give cos(tilt) ~ t; 0.21 and 0.29 for LaFeO3 and GdFeO3."""
    return np.sqrt(0.68**2 * 2.0 * np.maximum(1.0 - t, 0.0) + 0.06**2)


# As t grows, octahedra tilt about two axes, then about [111], stand straight, let a small B slip off their
# centre, and at last share faces. The ranges overlap as those of real compounds do. A small B (low mu)
# favours the last two.
RULES = {
    "cubic": Rule(1216, lambda t, mu: _around(t, 1.005, 0.030) + 3.0 * mu, np.zeros_like),
    "tetragonal": Rule(
        176,
        lambda t, mu: _around(t - 0.5 * mu, 0.815, 0.020),
        lambda t: 0.045 + 1.2 * np.maximum(t - 1.0, 0.0),
    ),
    "rhombohedral": Rule(800, lambda t, mu: _around(t, 0.975, 0.022), _tilt),
    "orthorhombic": Rule(1708, lambda t, mu: _below(t, 0.955, 0.012), _tilt),
    "hexagonal": Rule(500, lambda t, mu: _below(0.5 * mu - t, -0.835, 0.010), lambda t: np.full_like(t, 0.04)),
}
