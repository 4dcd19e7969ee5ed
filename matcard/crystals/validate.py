"""What makes a crystal unusable."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.optimization.neighbors import find_points_in_spheres

from matcard.crystals.crystals import is_none

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Bool, Float64, Int64, Shaped

    from matcard.crystals.crystals import Crystals

MIN_DISTANCE = 0.5
"""Sites closer than this, in angstrom and over all periodic images, overlap."""

MIN_HEIGHT = 0.1
"""A cell with two opposite faces closer than this, in angstrom, has no volume."""

HEAVIEST = 118
"""The largest atomic number there is an element for."""

# Above this many sites the pairs of a crystal are searched by cells in place of all at once.
_MANY_SITES = 200
# Pairs of sites looked at in one go: some tens of megabytes.
_PAIRS = 500_000


def find_faults(crystals: Crystals) -> Shaped[np.ndarray, " N"]:
    """Say of each crystal why it cannot be used: a reason (str), or None where nothing is wrong.

    Looked at in this order: no sites, atomic numbers outside 1..118, a lattice that is not finite, a cell
    without volume, coordinates that are not finite, sites closer than `MIN_DISTANCE`.
    """
    faults = np.full(len(crystals), None, dtype=object)
    faults[crystals.num_sites == 0] = "no sites; give at least one atom"
    for i, k in first_bad_sites(crystals.offsets, (crystals.numbers == 0) | (crystals.numbers > HEAVIEST)):
        faults[i] = f"site {k + 1} has an unknown element; write a plain element symbol"
    heights = cell_heights(crystals.lattice)
    thinnest = heights.min(axis=1, initial=np.inf)
    for c in np.flatnonzero(is_none(faults) & ~(thinnest >= MIN_HEIGHT)):
        faults[c] = _say_cell(crystals.lattice[c], heights[c])
    for i, k in first_bad_sites(crystals.offsets, ~np.isfinite(crystals.frac_coords).all(axis=1)):
        if faults[i] is None:
            faults[i] = f"site {k + 1} has a coordinate that is NaN or infinite; complete or delete it"
    for i, (one, other, distance) in _overlaps(crystals, is_none(faults), thinnest):
        faults[i] = _say_overlap(one, other, distance)
    return faults


def first_bad_sites(offsets: Int64[np.ndarray, " N+1"], bad: Bool[np.ndarray, " S"]) -> Iterator[tuple[int, int]]:
    """Give each crystal that has a bad site, and which of its sites is the first bad one."""
    sites = np.flatnonzero(bad)
    owners = np.searchsorted(offsets, sites, side="right") - 1
    for i, first in zip(*np.unique(owners, return_index=True), strict=True):
        yield int(i), int(sites[first] - offsets[i])


def cell_heights(lattice: Float64[np.ndarray, "N 3 3"]) -> Float64[np.ndarray, "N 3"]:
    """Give the distances between opposite faces of each cell, in angstrom; NaN for a lattice with NaN."""
    with np.errstate(all="ignore"):
        faces = np.cross(lattice[:, [1, 2, 0]], lattice[:, [2, 0, 1]])
        volume = np.abs(np.einsum("ni,ni->n", lattice[:, 0], faces[:, 0]))
        areas = np.linalg.norm(faces, axis=2)
        heights = np.where(areas > 0, volume[:, None] / areas, 0.0)
    heights[~np.isfinite(lattice).all(axis=(1, 2))] = np.nan
    return heights


Overlap = tuple[int, int, float]


def closest_sites(
    lattice: Float64[np.ndarray, "3 3"],
    frac_coords: Float64[np.ndarray, "n 3"],
    thinnest: float,
    heads: Sequence[int],
) -> Overlap | None:
    """Give the closest two sites of one crystal where they overlap, and their distance; a site and its image count.

    Args:
        lattice: rows a, b, c, in angstrom.
        frac_coords: sites.
        thinnest: the least distance between opposite faces of the cell.
        heads: sites of which all others are copies by symmetry: a close pair has a copy that holds one of them.
    """
    n = len(frac_coords)
    if thinnest < 2 * MIN_DISTANCE or len(heads) * n > _MANY_SITES**2:
        return _search(lattice, frac_coords)
    if n == 1:
        return None
    if len(heads) == n:
        one, other = _pairs(n)
        apart = frac_coords.take(one, axis=0) - frac_coords.take(other, axis=0)
    else:
        apart = (frac_coords.take(heads, axis=0)[:, None] - frac_coords).reshape(-1, 3)
    apart -= np.rint(apart)
    vectors = apart @ lattice
    squared = np.einsum("pi,pi->p", vectors, vectors)
    if len(heads) < n:
        squared[[row * n + head for row, head in enumerate(heads)]] = np.inf  # a site and itself
    k = int(squared.argmin())
    distance = math.sqrt(squared[k])
    if distance >= MIN_DISTANCE:
        return None
    return (int(one[k]), int(other[k]), distance) if len(heads) == n else (heads[k // n], k % n, distance)


def _overlaps(
    crystals: Crystals, sound: Bool[np.ndarray, " N"], thinnest: Float64[np.ndarray, " N"]
) -> Iterator[tuple[int, Overlap]]:
    """Give each crystal with sites too close, and its closest two."""
    # A vector shorter than MIN_DISTANCE has fractional components below MIN_DISTANCE / height. In a cell of
    # height 1 angstrom or more that is below 1/2: only the difference rounded to the nearest image matters,
    # and no site is near its own images. Other cells, and those with many sites, are searched.
    counts = crystals.num_sites
    plain = sound & (thinnest >= 2 * MIN_DISTANCE) & (counts <= _MANY_SITES)
    for n in np.unique(counts[plain & (counts > 1)]):
        indices = np.flatnonzero(plain & (counts == n))
        step = max(1, _PAIRS // int(n * (n - 1) // 2))
        for k in range(0, len(indices), step):
            part = indices[k : k + step]
            coords = crystals.frac_coords[crystals.offsets[part, None] + np.arange(n)]
            for b, overlap in _close_pairs(crystals.lattice[part], coords):
                yield int(part[b]), overlap
    for i in np.flatnonzero(sound & ~plain):
        sites = slice(int(crystals.offsets[i]), int(crystals.offsets[i + 1]))
        if (found := _search(crystals.lattice[i], crystals.frac_coords[sites])) is not None:
            yield int(i), found


def _close_pairs(
    lattice: Float64[np.ndarray, "B 3 3"], coords: Float64[np.ndarray, "B n 3"]
) -> Iterator[tuple[int, Overlap]]:
    """Compare all pairs of sites in crystals of n sites each."""
    one, other = _pairs(coords.shape[1])
    apart = coords.take(one, axis=1) - coords.take(other, axis=1)
    apart -= np.rint(apart)
    vectors = apart @ lattice
    squared = np.einsum("bpi,bpi->bp", vectors, vectors)
    if squared.min(initial=np.inf) >= MIN_DISTANCE**2:
        return
    for b in np.flatnonzero(squared.min(axis=1) < MIN_DISTANCE**2):
        pair = squared[b].argmin()
        yield int(b), (int(one[pair]), int(other[pair]), float(np.sqrt(squared[b, pair])))


@lru_cache(maxsize=64)
def _pairs(n: int) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
    one, other = np.triu_indices(n, 1)
    return one, other


def _search(lattice: Float64[np.ndarray, "3 3"], frac_coords: Float64[np.ndarray, "n 3"]) -> Overlap | None:
    """Look through all images within reach for the closest two sites, a site and its own image included."""
    lattice = np.ascontiguousarray(lattice)
    points = np.ascontiguousarray((frac_coords % 1.0) @ lattice)
    one, other, images, distances = find_points_in_spheres(
        points, points, r=MIN_DISTANCE, pbc=np.ones(3, dtype=np.int64), lattice=lattice, tol=1e-8
    )
    itself = (one == other) & ~images.any(axis=1)
    distances = np.where(itself | (distances >= MIN_DISTANCE), np.inf, distances)
    if not np.isfinite(distances).any():
        return None
    k = int(distances.argmin())
    return int(one[k]), int(other[k]), float(distances[k])


def _say_cell(lattice: Float64[np.ndarray, "3 3"], heights: Float64[np.ndarray, " 3"]) -> str:
    if np.isnan(heights).any():
        return "the lattice has a length or angle that is NaN or infinite; complete it"
    return (
        f"zero-volume cell: its faces are {heights.min():.3g} angstrom apart, its vectors "
        f"{np.linalg.norm(lattice, axis=1).round(3).tolist()} angstrom long; correct the lattice"
    )


def _say_overlap(one: int, other: int, distance: float) -> str:
    if one == other:
        return f"site {one + 1} is {distance:.3f} angstrom from its own image; correct the cell"
    return (
        f"sites {one + 1} and {other + 1} overlap, {distance:.3f} angstrom apart (less than {MIN_DISTANCE}); "
        "delete one or correct the coordinates"
    )
