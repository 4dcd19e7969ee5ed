"""The embedded data set: synthetic perovskites in five phases, drawn by rules from what pymatgen knows of ions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pymatgen.core.periodic_table import Element, Species
from pymatgen.symmetry.groups import SpaceGroup

from matcard.crystals.crystals import Crystals, objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int, Int64, UInt8

    Vector = Float[np.ndarray, " M"]
    Cells = Float[np.ndarray, "M 3 3"]
    Orbits = Float[np.ndarray, "M orbits 3"]

# Rows: the primitive vectors of a rhombohedral lattice (obverse setting) in the hexagonal ones.
_OBVERSE = np.array([[2.0, 1.0, 1.0], [-1.0, 1.0, 1.0], [-1.0, -2.0, 1.0]]) / 3.0
# Share of B-X, the stiffer bond, in the cell edge where nothing tilts and A-X and B-X disagree.
_STIFFNESS = 0.7
# Polar shift (in units of c) over the square root of c/a - 1: 0.064 gives 0.07, as in PbTiO3.
_ELECTROSTRICTION = 0.28


@dataclass(frozen=True)
class Phase:
    """One phase of ABX3.

    Attributes:
        name: the class name.
        symbol: the space group, as `SpaceGroup` and `Structure.from_spacegroup` of pymatgen take it.
        number: its number in the International Tables.
        species: which of A, B, X (0, 1, 2) sits on each orbit.
        layout: A-X and B-X distance (angstrom) and distortion, (N,) each -> cells in the standard setting
            (N, 3, 3), rows are vectors, angstrom, and one fractional position an orbit (N, orbits, 3).
        count: crystals of it in the data set.
        log_likelihood: (t, mu), the tolerance and octahedral factors (M,) of compositions -> how readily each
            is met among the crystals of the phase (M,), up to a constant.
        distortion: t -> the distortion about which crystals scatter, as `build` takes it.
    """

    name: str
    symbol: str
    number: int
    species: tuple[int, ...]
    layout: Callable[[Vector, Vector, Vector], tuple[Cells, Orbits]]
    count: int
    log_likelihood: Callable[[Vector, Vector], Vector]
    distortion: Callable[[Vector], Vector]


def build(phase: Phase, ax: Vector, bx: Vector, distortion: Vector) -> tuple[Cells, Float[np.ndarray, "N sites 3"]]:
    """Lay out N undisturbed crystals of a phase in their primitive cells.

    Args:
        phase: the phase.
        ax: the A-X distance, angstrom.
        bx: the B-X distance, angstrom.
        distortion: a tilt in radians (rhombohedral, orthorhombic), a polar shift in units of c (tetragonal),
            a relative elongation of the octahedra along the chains (hexagonal); ignored by the cubic phase.

    Returns:
        Cells (rows are vectors, angstrom) and fractional coordinates; `sites(phase)` says what sits where.
    """
    cells, orbits = phase.layout(ax, bx, distortion)
    primitive = _primitive(phase)
    frac = np.concatenate(
        [
            np.einsum("mij,nj->nmi", operations[:, :3, :3], orbits[:, k]) + operations[:, :3, 3]
            for k, operations in enumerate(_orbit_operations(phase))
        ],
        axis=1,
    )
    return primitive @ cells, frac @ np.linalg.inv(primitive)


def sites(phase: Phase) -> Int[np.ndarray, " sites"]:
    """Which of A, B, X (0, 1, 2) sits on each site that `build` gives."""
    return np.repeat(phase.species, [len(operations) for operations in _orbit_operations(phase)])


def _primitive(phase: Phase) -> Float[np.ndarray, "3 3"]:
    return _OBVERSE if phase.symbol.startswith("R") else np.eye(3)


@cache
def _orbit_operations(phase: Phase) -> list[Float[np.ndarray, "sites 4 4"]]:
    """For each orbit, the operations that give its sites, each once, in the primitive cell."""
    matrices = np.array([operation.affine_matrix for operation in SpaceGroup(phase.symbol).symmetry_ops])
    matrices = matrices[np.lexsort(matrices.reshape(len(matrices), 16).round(6).T)]
    to_primitive = np.linalg.inv(_primitive(phase))
    # Any distorted example will do: which operations fix an orbit does not depend on its free coordinates.
    _, example = phase.layout(np.array([2.8]), np.array([2.0]), np.array([0.1]))
    chosen = []
    for position in example[0]:
        images = (matrices[:, :3, :3] @ position + matrices[:, :3, 3]) @ to_primitive
        apart = images[:, None] - images[None]
        same = np.abs(apart - apart.round()).max(axis=2) < 1e-6
        chosen.append(matrices[same.argmax(axis=1) == np.arange(len(matrices))])
    return chosen


def _orthogonal(a: Vector, b: Vector, c: Vector) -> Cells:
    return np.stack([a, b, c], axis=1)[:, :, None] * np.eye(3)


def _hexagonal(a: Vector, c: Vector) -> Cells:
    cells = _orthogonal(a, a * np.sqrt(3.0) / 2.0, c)
    cells[:, 1, 0] = -a / 2.0
    return cells


def _orbits(*positions: tuple[float | Vector, float | Vector, float | Vector]) -> Orbits:
    """Stack positions whose coordinates are numbers, the same for all crystals, or one number a crystal."""
    rows = np.broadcast_arrays(*(coordinate for position in positions for coordinate in position))
    return np.stack(rows, axis=1).reshape(-1, len(positions), 3)


def _untilted_edge(ax: Vector, bx: Vector) -> Vector:
    """The pseudo-cubic edge where nothing tilts: A-X wants it sqrt(2) long, B-X twice."""
    return np.asarray(2.0 * _STIFFNESS * bx + np.sqrt(2.0) * (1.0 - _STIFFNESS) * ax)


def _cubic(ax: Vector, bx: Vector, distortion: Vector) -> tuple[Cells, Orbits]:
    edge = _untilted_edge(ax, bx)
    zero = 0.0 * edge
    return _orthogonal(edge, edge, edge), _orbits((zero, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, 0.5, 0.0))


def _tetragonal(ax: Vector, bx: Vector, shift: Vector) -> tuple[Cells, Orbits]:
    """B off the centre along c; the strain goes with the square of the shift (electrostriction)."""
    ratio = 1.0 + (shift / _ELECTROSTRICTION) ** 2
    edge = _untilted_edge(ax, bx) / np.cbrt(ratio)
    orbits = _orbits(
        (0.0, 0.0, 0.0), (0.5, 0.5, 0.5 + 0.5 * shift), (0.5, 0.5, 1.5 * shift), (0.5, 0.0, 0.5 + 1.5 * shift)
    )
    return _orthogonal(edge, edge, edge * ratio), orbits


def _rhombohedral(ax: Vector, bx: Vector, tilt: Vector) -> tuple[Cells, Orbits]:
    """Rigid octahedra turned about [111], Glazer's a-a-a- (Acta Cryst. B 28 (1972) 3384)."""
    edge = 2.0 * bx
    cells = _hexagonal(np.sqrt(2.0) * edge * np.cos(tilt), np.sqrt(12.0) * edge)
    return cells, _orbits((0.0, 0.0, 0.25), (0.0, 0.0, 0.0), (0.5 - np.tan(tilt) / np.sqrt(12.0), 0.0, 0.25))


def _orthorhombic(ax: Vector, bx: Vector, tilt: Vector) -> tuple[Cells, Orbits]:
    """Glazer's a-b+a-: octahedra turned by `tilt` about a, three quarters of it about b; A moves, too."""
    edge, turn = 2.0 * bx, 0.75 * tilt
    cells = _orthogonal(
        np.sqrt(2.0) * edge * np.cos(turn),
        2.0 * edge * np.cos(tilt),
        np.sqrt(2.0) * edge * np.cos(turn) * np.cos(tilt),
    )
    in_plane, out_of_plane = np.tan(turn) / 4.0, np.tan(tilt) / np.sqrt(32.0)
    orbits = _orbits(
        (0.6 * tilt**2, 0.25, -0.1 * tilt**2),
        (0.0, 0.0, 0.5),
        (0.5 - 0.3 * tilt**2, 0.25, 2.0 * out_of_plane),
        (0.25 + in_plane, out_of_plane, 0.75 - in_plane),
    )
    return cells, orbits


def _chains(ax: Vector, bx: Vector, elongation: Vector) -> tuple[Cells, Orbits]:
    """The 2H stacking of BaNiO3: chains of octahedra that share faces, longer along c as B-B repel."""
    height = bx / np.sqrt(3.0) * (1.0 + elongation)
    radius = np.sqrt(bx**2 - height**2)
    edge = 1.9 * ax
    x = radius / (np.sqrt(3.0) * edge)
    return _hexagonal(edge, 4.0 * height), _orbits((1 / 3, 2 / 3, 0.75), (0.0, 0.0, 0.0), (x, 2.0 * x, 0.25))


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
PHASES = (
    Phase(
        "cubic", "Pm-3m", 221, (0, 1, 2), _cubic, 1216, lambda t, mu: _around(t, 1.005, 0.03) + 3.0 * mu, np.zeros_like
    ),
    Phase(
        "tetragonal",
        "P4mm",
        99,
        (0, 1, 2, 2),
        _tetragonal,
        176,
        lambda t, mu: _around(t - 0.5 * mu, 0.815, 0.020),
        lambda t: 0.045 + 1.2 * np.maximum(t - 1.0, 0.0),
    ),
    Phase("rhombohedral", "R-3c", 167, (0, 1, 2), _rhombohedral, 800, lambda t, mu: _around(t, 0.975, 0.022), _tilt),
    Phase("orthorhombic", "Pnma", 62, (0, 1, 2, 2), _orthorhombic, 1708, lambda t, mu: _below(t, 0.955, 0.012), _tilt),
    Phase(
        "hexagonal",
        "P6_3/mmc",
        194,
        (0, 1, 2),
        _chains,
        500,
        lambda t, mu: _below(0.5 * mu - t, -0.835, 0.010),
        lambda t: np.full_like(t, 0.04),
    ),
)


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
    site, n = sites(phase), phase.count
    t, mu = compositions.tolerance_factor, compositions.octahedral_factor
    cumulative = np.cumsum(np.exp(phase.log_likelihood(t, mu)))
    which = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    a, b, x = compositions.radii[which].T * (1.0 + _BOND_SPREAD * rng.standard_normal(n))
    distortion = phase.distortion(t[which]) * np.exp(_DISTORTION_SPREAD * rng.standard_normal(n))
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
