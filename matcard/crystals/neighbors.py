"""The nearest neighbours of every atom under periodic boundary conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Bool, Float, Int

    from matcard.crystals.options import GraphOptions

TIE_TOLERANCE = 1e-2
"""Neighbours whose distances (angstrom) differ by no more than this from the k-th are in one shell with it."""

_SELF_DISTANCE = 1e-8
_FIRST_GUESS = 1.3
_GROWTH = 1.5


class Edges(NamedTuple):
    """E directed edges from a neighbour (`source`, in the cell `image`) to a centre (`target`)."""

    target: Int[np.ndarray, " E"]
    source: Int[np.ndarray, " E"]
    image: Int[np.ndarray, "E 3"]
    distance: Float[np.ndarray, " E"]

    def where(self, chosen: Bool[np.ndarray, " E"] | Int[np.ndarray, " M"]) -> Edges:
        """Take some of the edges, by mask or by position."""
        return Edges(*(field[chosen] for field in self))


def edges_within_reach(
    lattice: Float[np.ndarray, "N 3 3"],
    offsets: Int[np.ndarray, " N+1"],
    frac_coords: Float[np.ndarray, "S 3"],
    options: GraphOptions,
) -> Edges:
    """Find for every atom enough neighbours to settle its `options.neighbors` nearest and their ties.

    A search at the full radius finds ten times more than is wanted in a dense crystal. So the search starts at a
    radius guessed from the density, and is widened, up to `options.radius`, for those atoms alone whose k-th
    neighbour and its shell do not lie inside it: what is nearest is the same as with the full radius.

    Args:
        lattice: cell vectors in rows, angstrom.
        offsets: sites of crystal i are offsets[i] to offsets[i+1].
        frac_coords: fractional coordinates, inside the cell or not.
        options: radius and number of neighbours.

    Returns:
        edges whose `target` and `source` count sites from the first of all crystals, unsorted.
    """
    counts = np.diff(offsets)
    crystal = np.repeat(np.arange(len(counts)), counts)
    coords = np.einsum("si,sij->sj", frac_coords, lattice[crystal])
    room = np.abs(np.linalg.det(lattice)) / np.maximum(counts, 1)
    # Sphere that holds k atoms at this density, somewhat enlarged.
    radius = _FIRST_GUESS * np.cbrt(3 / (4 * np.pi) * options.neighbors * room)
    atoms = np.arange(len(coords))
    found = []
    while len(atoms):
        radius = np.minimum(radius, options.radius)
        edges = _edges_of(atoms, lattice, offsets, crystal, coords, radius)
        reach = np.where(radius < options.radius, radius - TIE_TOLERANCE, np.inf)
        inside = np.bincount(
            edges.target[edges.distance <= reach[crystal[edges.target]]], minlength=len(coords)
        )
        settled = (inside >= options.neighbors) | np.isinf(reach)[crystal]
        found.append(edges.where(settled[edges.target]))
        atoms = atoms[~settled[atoms]]
        radius = radius * _GROWTH
    return _joined(found)


def nearest(
    edges: Edges, num_atoms: int, options: GraphOptions
) -> tuple[Edges, Bool[np.ndarray, " S"], Bool[np.ndarray, " S"]]:
    """Sort edges by centre and distance and keep the nearest of each centre, with ties as the options say.

    Returns:
        the edges kept; the atoms whose shell at the k-th neighbour was split or dropped; the atoms with fewer than
        k neighbours inside the radius.
    """
    edges = edges.where(np.lexsort((edges.distance, edges.target)))
    count = np.bincount(edges.target, minlength=num_atoms)
    start = np.cumsum(count) - count
    short = count < options.neighbors
    kth = np.full(num_atoms, np.inf)
    kth[~short] = edges.distance[start[~short] + options.neighbors - 1]
    in_shell = edges.distance <= (kth + TIE_TOLERANCE)[edges.target]
    tied = np.bincount(edges.target[in_shell], minlength=num_atoms) > options.neighbors
    tied &= ~short
    if options.ties == "keep":
        return edges.where(in_shell), np.zeros(num_atoms, bool), short
    rank = np.arange(len(edges.target)) - start[edges.target]
    chosen = rank < options.neighbors
    if options.ties == "cut":
        chosen &= edges.distance < np.where(tied, kth - TIE_TOLERANCE, np.inf)[edges.target]
    return edges.where(chosen), tied, short


def _edges_of(
    atoms: Int[np.ndarray, " A"],
    lattice: Float[np.ndarray, "N 3 3"],
    offsets: Int[np.ndarray, " N+1"],
    crystal: Int[np.ndarray, " S"],
    coords: Float[np.ndarray, "S 3"],
    radius: Float[np.ndarray, " N"],
) -> Edges:
    """Search around `atoms` (sorted), in each crystal with its own radius."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    periodic = np.ones(3, dtype=np.int64)
    found = []
    which, first = np.unique(crystal[atoms], return_index=True)
    for i, centers in zip(which, np.split(atoms, first[1:]), strict=True):
        begin = offsets[i]
        points = coords[begin : offsets[i + 1]]
        target, source, image, distance = find_points_in_spheres(
            points, coords[centers], r=radius[i], pbc=periodic, lattice=lattice[i]
        )
        found.append(Edges(centers[target], source + begin, image, distance))
    edges = _joined(found)
    return edges.where((edges.source != edges.target) | (edges.distance > _SELF_DISTANCE))


def _joined(parts: Iterable[Edges]) -> Edges:
    parts = [*parts, _NONE]
    return Edges(*(np.concatenate(field) for field in zip(*parts, strict=True)))


_NONE = Edges(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))
