"""The flat container of crystals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice

from matcard.crystals.readers.assemble import lattice_from_parameters
from matcard.crystals.table import Crystals, offsets_from_counts


def _random(counts, seed=0):
    rng = np.random.default_rng(seed)
    total = sum(counts)
    return Crystals(
        np.array([f"{seed}-{k}" for k in range(len(counts))], dtype=object),
        rng.normal(size=(len(counts), 3, 3)) + 5 * np.eye(3),
        offsets_from_counts(np.array(counts, dtype=np.int64)),
        rng.integers(1, 90, total).astype(np.uint8),
        rng.uniform(size=(total, 3)),
    )


def _parts(crystals, i):
    sites = slice(crystals.offsets[i], crystals.offsets[i + 1])
    return crystals.ids[i], crystals.lattice[i], crystals.numbers[sites], crystals.frac_coords[sites]


def _same(one, i, other, j):
    for a, b in zip(_parts(one, i), _parts(other, j), strict=True):
        np.testing.assert_array_equal(a, b)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_take_gives_the_crystals_asked_for(counts, data):
    crystals = _random(counts)
    indices = data.draw(st.lists(st.integers(-len(counts), len(counts) - 1), max_size=8))
    taken = crystals.take(indices)
    assert len(taken) == len(indices)
    for k, i in enumerate(indices):
        _same(taken, k, crystals, i % len(counts))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=4))
def test_concatenate_keeps_order(parts):
    tables = [_random(counts, seed) for seed, counts in enumerate(parts)]
    joined = Crystals.concatenate(tables)
    assert len(joined) == sum(map(len, parts))
    k = 0
    for table in tables:
        for i in range(len(table)):
            _same(joined, k, table, i)
            k += 1


def test_objects_have_the_same_sites():
    crystals = _random([2, 3])
    structure, atoms = crystals.structure(-1), crystals.atoms(1)
    np.testing.assert_array_equal(structure.atomic_numbers, crystals.numbers[2:])
    np.testing.assert_array_equal(structure.frac_coords, crystals.frac_coords[2:])
    np.testing.assert_allclose(structure.cart_coords, atoms.positions, atol=1e-12)
    assert atoms.pbc.all()
    np.testing.assert_array_equal(atoms.numbers, structure.atomic_numbers)
    for give in (crystals.structure, crystals.atoms):
        with pytest.raises(IndexError):
            give(2)


def test_arrays_that_do_not_fit_are_refused():
    good = _random([2, 3])
    with pytest.raises(ValueError, match="do not fit"):
        Crystals(good.ids, good.lattice, good.offsets[:-1], good.numbers, good.frac_coords)
    with pytest.raises(ValueError, match="do not fit"):
        Crystals(good.ids, good.lattice, good.offsets, good.numbers[:-1], good.frac_coords)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(*[st.floats(0.5, 20.0)] * 3, *[st.floats(20.0, 160.0)] * 3),
        min_size=1,
        max_size=5,
    )
)
def test_cells_from_parameters_are_pymatgens(parameters):
    got = lattice_from_parameters(np.array(parameters))
    for cell, row in zip(got, parameters, strict=True):
        np.testing.assert_allclose(cell, Lattice.from_parameters(*row).matrix, rtol=1e-12, atol=1e-12)
