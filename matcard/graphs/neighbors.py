"""Which neighbours of an atom become edges, and the search for them under periodic boundary conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pymatgen.optimization.neighbors import find_points_in_spheres

from matcard.options import AtLeastOne, Positive, check_options

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from matcard.crystals.crystals import Crystals

Ties = Literal["keep", "cut", "strict"]

TIE_TOLERANCE = 1e-2
"""Neighbours as far as the k-th, to within this many angstroms, are in one shell with it."""

_SELF_DISTANCE = 1e-8
_FIRST_GUESS = 1.2
_GROWTH = 1.5


@dataclass(frozen=True)
class GraphOptions:
    """Which neighbours of an atom become edges.

    Raises:
        InputError: when a value is out of range.
    """

    radius: Positive = 8.0
    """Cutoff radius in angstrom: no edge is longer."""

    neighbors: AtLeastOne = 12
    """Number of nearest neighbours an atom takes edges from."""

    ties: Ties = "keep"
    """What happens when the last neighbour belongs to a shell, of distances equal to within 0.01 angstrom, that
    has too many members: `keep` keeps the whole shell, `cut` drops it as a whole (an atom whose first shell is
    too large then has no edge), `strict` splits it and takes exactly `neighbors`, as the original CGCNN does
    (the graph then depends on the order of sites)."""

    def __post_init__(self) -> None:
        check_options(self, "--data.graph.")


class Edges(NamedTuple):
    """E directed edges from a neighbour (`source`, in the cell `image`) to a centre (`target`)."""

    target: Int[np.ndarray, " E"]
    source: Int[np.ndarray, " E"]
    image: Float[np.ndarray, "E 3"]
    distance: Float[np.ndarray, " E"]

    def take(self, chosen: Int[np.ndarray, " M"]) -> Edges:
        """Take the edges at the positions `chosen`."""
        return Edges(*(field[chosen] for field in self))


def within_reach(crystals: Crystals, options: GraphOptions) -> Edges:
    """Find for every atom enough neighbours to settle its `options.neighbors` nearest and their ties.

    A search at the full radius finds ten times more than is wanted in a dense crystal. So the search starts
    at a radius guessed from the density, and is widened, up to `options.radius`, for those atoms alone whose
    k-th neighbour and its shell do not lie inside it: what is nearest is the same as with the full radius.

    Returns:
        unsorted edges; `target` and `source` count sites from the first of all crystals.
    """
    lattice = np.ascontiguousarray(crystals.lattice, dtype=np.float64)
    counts = crystals.num_sites
    crystal = np.repeat(np.arange(len(crystals)), counts)
    coords = np.einsum("si,sij->sj", crystals.frac_coords, lattice[crystal])
    # A sphere that holds k atoms at the crystal's density, somewhat enlarged.
    volume = np.abs(np.linalg.det(lattice)) / np.maximum(counts, 1)
    radius = _FIRST_GUESS * np.cbrt(3 / (4 * np.pi) * options.neighbors * volume)
    atoms = np.arange(len(coords))
    found = []
    while len(atoms):
        radius = np.minimum(radius, options.radius)
        edges = _around(atoms, lattice, crystals.offsets, coords, radius)
        other = (edges.source != edges.target) | (edges.distance > _SELF_DISTANCE)
        # A shell that a search at less than the full radius may have cut does not count.
        reach = np.where(radius < options.radius, radius - TIE_TOLERANCE, np.inf)[crystal]
        inside = np.bincount(edges.target[other & (edges.distance <= reach[edges.target])], minlength=len(coords))
        settled = (inside >= options.neighbors) | np.isinf(reach)
        found.append(edges.take(np.flatnonzero(other & settled[edges.target])))
        atoms = atoms[~settled[atoms]]
        radius = radius * _GROWTH
    return _joined(found)


def nearest(
    edges: Edges, num_atoms: int, options: GraphOptions
) -> tuple[Edges, Bool[np.ndarray, " S"], Bool[np.ndarray, " S"]]:
    """Keep the nearest neighbours of each atom, ties as the options say.

    Returns:
        the edges, sorted by centre and distance; the atoms whose shell at the k-th neighbour was split or dropped; and
        those with fewer than k neighbours inside the radius.
    """
    k = options.neighbors
    # One key in place of two sorts: the bits of positive floats are in the order of the floats. In single
    # precision equal distances are equal, and stay in the order in which they were found.
    key = (edges.target << 32) | edges.distance.astype(np.float32).view(np.int32)
    order = np.argsort(key, kind="stable")
    target, distance = edges.target[order], edges.distance[order]
    count = np.bincount(target, minlength=num_atoms)
    start = np.cumsum(count) - count
    short = count < k
    kth = np.full(num_atoms, np.inf)
    kth[~short] = distance[start[~short] + k - 1]
    in_shell = distance <= (kth + TIE_TOLERANCE)[target]
    if options.ties == "keep":
        return edges.take(order[in_shell]), np.zeros(num_atoms, dtype=bool), short
    tied = ~short & (np.bincount(target[in_shell], minlength=num_atoms) > k)
    if options.ties == "cut":
        chosen = in_shell & (distance < np.where(tied, kth - TIE_TOLERANCE, np.inf)[target])
    else:
        chosen = np.arange(len(target)) - start[target] < k
    return edges.take(order[chosen]), tied, short


def _around(
    atoms: Int[np.ndarray, " A"],
    lattice: Float[np.ndarray, "N 3 3"],
    offsets: Int[np.ndarray, " N+1"],
    coords: Float[np.ndarray, "S 3"],
    radius: Float[np.ndarray, " N"],
) -> Edges:
    """Search around `atoms` (sorted), in each crystal with its own radius; each atom finds itself, too."""
    periodic = np.ones(3, dtype=np.int64)
    found = []
    first = np.searchsorted(atoms, offsets)
    for i in np.flatnonzero(np.diff(first)):
        centers = atoms[first[i] : first[i + 1]]
        begin = offsets[i]
        target, source, image, distance = find_points_in_spheres(
            coords[begin : offsets[i + 1]], coords[centers], r=radius[i], pbc=periodic, lattice=lattice[i]
        )
        found.append(Edges(centers[target], source + begin, image, distance))
    return _joined(found)


def _joined(parts: list[Edges]) -> Edges:
    if len(parts) == 1:
        return parts[0]
    none = Edges(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))
    return Edges(*(np.concatenate(field) for field in zip(none, *parts, strict=True)))
