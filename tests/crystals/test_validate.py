"""Faults against slow, independent searches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice

from matcard.crystals.crystals import Crystals, is_none, offsets_from_counts
from matcard.crystals.validate import (
    MIN_DISTANCE,
    MIN_HEIGHT,
    cell_heights,
    find_faults,
)


def _crystals(*cells):
    """Crystals of hydrogen from (lattice, coords) pairs."""
    counts = [len(coords) for _, coords in cells]
    return Crystals(
        np.array([f"c{k}" for k in range(len(cells))], dtype=object),
        np.array([lattice for lattice, _ in cells], dtype=float).reshape(-1, 3, 3),
        offsets_from_counts(np.array(counts, dtype=np.int64)),
        np.ones(sum(counts), dtype=np.uint8),
        np.concatenate([np.zeros((0, 3)), *(np.reshape(coords, (-1, 3)) for _, coords in cells)]),
    )


def _closest(lattice, coords):
    """The smallest distance between two sites over many images, by loops."""
    reach = [int(np.ceil(1.0 / h)) + 1 for h in _heights(lattice)]
    best = np.inf
    for i, j in itertools.product(range(len(coords)), repeat=2):
        for image in itertools.product(*(range(-r, r + 1) for r in reach)):
            if i == j and not any(image):
                continue
            between = coords[i] - coords[j]
            best = min(best, np.linalg.norm((between - np.floor(between) + image) @ lattice))
    return best


def _heights(lattice):
    return 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)


def _cells(smallest):
    length = st.floats(smallest, 6.0)
    angle = st.floats(50.0, 120.0)

    def is_thick(parameters):
        matrix = Lattice.from_parameters(*parameters).matrix
        return abs(np.linalg.det(matrix)) > 0.05 * np.prod(parameters[:3]) and _heights(matrix).min() > MIN_HEIGHT

    return st.tuples(length, length, length, angle, angle, angle).filter(is_thick)


@settings(deadline=None, max_examples=40)
@given(_cells(0.3), st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(0.0, 1.2))
def test_overlaps_are_those_of_a_search_over_images(parameters, sites, seed, distance):
    """Cells large and tiny; the last site stands at a chosen distance from the first, across a cell edge."""
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*parameters).matrix
    coords = rng.uniform(-1, 2, (sites, 3))
    direction = rng.normal(size=3)
    near = coords[0] + (distance * direction / np.linalg.norm(direction)) @ np.linalg.inv(lattice)
    coords = np.vstack([coords, near + rng.integers(-2, 3, 3)])
    closest = _closest(lattice, coords)
    (fault,) = find_faults(_crystals((lattice, coords)))
    if abs(closest - MIN_DISTANCE) < 1e-6:
        return
    assert (fault is not None) == (closest < MIN_DISTANCE)
    if fault is not None:
        assert f"{closest:.3f} angstrom" in fault


def test_many_sites_are_searched_like_few():
    grid = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) / 7
    lattice = 14 * np.eye(3)
    close = grid.copy()
    close[300] = close[5] + [0.0, 0.02, -1.0]
    faults = find_faults(_crystals((lattice, grid), (lattice, close)))
    assert faults[0] is None
    assert faults[1] == (
        "site 6 and site 301 overlap, 0.280 angstrom apart (less than 0.5); delete one or correct the coordinates"
    )


def test_pairs_are_looked_at_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    cells = [(np.eye(3) * 5, rng.uniform(size=(4, 3))) for _ in range(50)]
    expected = find_faults(_crystals(*cells)).tolist()
    monkeypatch.setattr("matcard.crystals.validate._PAIRS", 20)
    assert find_faults(_crystals(*cells)).tolist() == expected
    assert any(expected)
    assert not all(expected)


@settings(deadline=None, max_examples=30)
@given(_cells(0.5))
def test_heights_are_those_of_the_reciprocal_lattice(parameters):
    lattice = Lattice.from_parameters(*parameters)
    expected = [lattice.d_hkl(hkl) for hkl in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    np.testing.assert_allclose(cell_heights(lattice.matrix[None])[0], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("lattice", "fault"),
    [
        (np.zeros((3, 3)), "zero-volume cell"),
        ([[4, 0, 0], [0, 4, 0], [4, 4, 0]], "zero-volume cell"),
        ([[4, 0, 0], [0, 4, 0], [0, 0, 0.05]], "zero-volume cell"),
        ([[4, 0, 0], [0, 4, 0], [0, 0, np.nan]], "NaN or infinite"),
        ([[4, 0, 0], [0, np.inf, 0], [0, 0, 4]], "NaN or infinite"),
        ([[0, 4, 0], [4, 0, 0], [0, 0, 4]], None),
    ],
)
def test_cells(lattice, fault):
    """A left-handed cell is as good as a right-handed one."""
    (found,) = find_faults(_crystals((lattice, [[0, 0, 0]])))
    assert found is None if fault is None else fault in found


def test_each_crystal_is_judged_by_itself_and_once():
    cube = np.eye(3) * 4
    crystals = _crystals(
        (cube, [[0, 0, 0]]),
        (cube, []),
        (cube, [[0, 0, 0], [0, np.nan, 0]]),
        (np.zeros((3, 3)), [[np.inf, 0, 0]]),
        (cube, [[0, 0, 0], [0, 0, 0.01]]),
    )
    faults = find_faults(crystals)
    assert is_none(faults).tolist() == [True] + [False] * 4
    starts = [
        "no sites",
        "site 2 has a coordinate",
        "zero-volume cell",
        "site 1 and site 2 overlap",
    ]
    for fault, start in zip(faults[1:], starts, strict=True):
        assert fault.startswith(start)


def test_nothing_to_look_at():
    assert find_faults(_crystals()).shape == (0,)
