"""What makes a crystal unusable."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.optimization.neighbors import find_points_in_spheres

from matcard.crystals.crystals import Crystals, is_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Bool, Float64, Int64, Shaped

    from matcard.crystals.crystals import Crystal

MIN_DISTANCE = 0.5
"""Sites closer than this, in angstrom and over all periodic images, overlap."""

MIN_HEIGHT = 0.1
"""A cell with two opposite faces closer than this, in angstrom, has no volume."""

# Above this many sites the pairs of a crystal are searched by cells in place of all at once.
_MANY_SITES = 200
# Pairs of sites looked at in one go: some tens of megabytes.
_PAIRS = 500_000


def checked(found: Sequence[Crystal], **given: Any) -> Crystals:
    """Lay structures out flat, as `Crystals.of` does, each that cannot be used with its fault."""
    crystals = Crystals.of(found, **given)
    return crystals.with_faults(find_faults(crystals, lambda i, k: found[i].call(k)))


def find_faults(crystals: Crystals, call: Callable[[int, int], str] | None = None) -> Shaped[np.ndarray, " N"]:
    """Say of each crystal why it cannot be used: a reason (str), or None where nothing is wrong.

    Looked at in this order: no sites, a lattice that is not finite, a cell without volume, coordinates that are not
    finite, sites closer than `MIN_DISTANCE`.

    Args:
        crystals: N of them.
        call: gives what messages call site k of crystal i; None: by its number.
    """
    call = call or (lambda _, k: f"site {k + 1}")
    faults = np.full(len(crystals), None, dtype=object)
    faults[crystals.num_sites == 0] = "no sites; give at least one atom"
    heights = cell_heights(crystals.lattice)
    thinnest = heights.min(axis=1, initial=np.inf)
    for c in np.flatnonzero(is_none(faults) & ~(thinnest >= MIN_HEIGHT)):
        faults[c] = "the lattice has a length or angle that is NaN or infinite; complete it"
        if not np.isnan(heights[c]).any():
            faults[c] = (
                f"zero-volume cell: its faces are {heights[c].min():.3g} angstrom apart, its vectors "
                f"{np.linalg.norm(crystals.lattice[c], axis=1).round(3).tolist()} angstrom long; correct the lattice"
            )
    for site in np.flatnonzero(~np.isfinite(crystals.frac_coords).all(axis=1)).tolist():
        i = int(np.searchsorted(crystals.offsets, site, side="right")) - 1
        if faults[i] is None:
            name = call(i, site - int(crystals.offsets[i]))
            faults[i] = f"{name} has a coordinate that is NaN or infinite; complete or delete it"
    for i, (one, other, distance) in _overlaps(crystals, is_none(faults), thinnest):
        name, close = call(i, one), call(i, other)
        if one == other:
            faults[i] = f"{name} is {distance:.3f} angstrom from its own image; correct the cell"
        else:
            faults[i] = (
                f"{name} and {'its own copy' if name == close else close} overlap, {distance:.3f} angstrom apart (less "
                f"than {MIN_DISTANCE}); delete one or correct the coordinates"
            )
    return faults


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
