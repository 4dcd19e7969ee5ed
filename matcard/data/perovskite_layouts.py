"""The five phases: space groups, occupied sites, and how cells and positions follow bond lengths.

Each phase is laid out in its standard setting from a few numbers a crystal; the space group's own operations
give the remaining sites, for all crystals of a phase at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.symmetry.groups import SpaceGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int

    Vector = Float[np.ndarray, " N"]
    Cells = Float[np.ndarray, "N 3 3"]
    Orbits = Float[np.ndarray, "N orbits 3"]

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
    """

    name: str
    symbol: str
    number: int
    species: tuple[int, ...]
    layout: Callable[[Vector, Vector, Vector], tuple[Cells, Orbits]]


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


PHASES = (
    Phase("cubic", "Pm-3m", 221, (0, 1, 2), _cubic),
    Phase("tetragonal", "P4mm", 99, (0, 1, 2, 2), _tetragonal),
    Phase("rhombohedral", "R-3c", 167, (0, 1, 2), _rhombohedral),
    Phase("orthorhombic", "Pnma", 62, (0, 1, 2, 2), _orthorhombic),
    Phase("hexagonal", "P6_3/mmc", 194, (0, 1, 2), _chains),
)
