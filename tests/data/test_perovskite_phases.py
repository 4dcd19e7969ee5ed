from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from matcard.data.perovskites import PHASES, build, sites

by_phase = pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
NAMED = {phase.name: phase for phase in PHASES}
ELEMENTS = np.array(["La", "Fe", "O"])
few = settings(deadline=None, max_examples=15)
lengths = {"ax": st.floats(2.5, 3.9), "bx": st.floats(1.9, 2.9), "distortion": st.floats(0.02, 0.3)}


def one(phase, ax, bx, distortion):
    cells, frac = build(phase, *(np.array([value]) for value in (ax, bx, distortion)))
    return Structure(Lattice(cells[0]), ELEMENTS[sites(phase)], frac[0])


def reference(phase, ax, bx, distortion):
    """The same crystal by pymatgen, in the standard setting."""
    cells, orbits = phase.layout(*(np.array([value]) for value in (ax, bx, distortion)))
    return Structure.from_spacegroup(
        phase.symbol, Lattice(cells[0]), ELEMENTS[list(phase.species)], orbits[0], tol=1e-8
    )


@by_phase
@few
@given(**lengths)
def test_the_sites_are_those_of_from_spacegroup(phase, ax, bx, distortion):
    mine, theirs = one(phase, ax, bx, distortion), reference(phase, ax, bx, distortion)
    cells = theirs.volume / mine.volume
    assert cells == pytest.approx(3.0 if phase.symbol == "R-3c" else 1.0)
    assert len(theirs) == round(cells) * len(mine)
    # Every site of theirs, wherever it is, must be a site of mine but for a vector of my lattice.
    matched = np.zeros(len(mine), dtype=int)
    for site in theirs:
        apart = mine.frac_coords - mine.lattice.get_fractional_coords(site.coords)
        (k,) = np.flatnonzero(np.abs(apart - apart.round()).max(axis=1) < 1e-6)
        assert mine[k].species == site.species
        matched[k] += 1
    assert (matched == round(cells)).all()


@by_phase
def test_the_symmetry_is_that_of_the_space_group(phase):
    import spglib

    crystal = one(phase, 2.75, 2.0, 0.15)
    cell = (crystal.lattice.matrix.tolist(), crystal.frac_coords.tolist(), list(crystal.atomic_numbers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.get_symmetry_dataset(cell, symprec=1e-4)
    assert found.number == phase.number
    assert found.international == phase.symbol
    assert len(np.unique(found.crystallographic_orbits)) == len(phase.species)


@by_phase
@few
@given(**lengths)
def test_the_composition_is_abx3(phase, ax, bx, distortion):
    assert one(phase, ax, bx, distortion).composition.reduced_formula == "LaFeO3"


@pytest.mark.parametrize("name", ["rhombohedral", "orthorhombic", "hexagonal"])
@few
@given(ax=st.floats(2.6, 3.0), bx=st.floats(1.9, 2.2), distortion=st.floats(0.02, 0.12))
def test_octahedra_are_rigid(name, ax, bx, distortion):
    crystal = one(NAMED[name], ax, bx, distortion)
    b = crystal.indices_from_symbol("Fe")[0]
    near = sorted(s.nn_distance for s in crystal.get_neighbors(crystal[b], 3.2) if s.specie.symbol == "O")[:6]
    assert near == pytest.approx([bx] * 6, rel=0.015)


def test_tetragonal_distortion_matches_that_of_lead_titanate():
    crystal = one(NAMED["tetragonal"], 2.8, 2.0, 0.07)
    assert crystal.lattice.c / crystal.lattice.a == pytest.approx(1.064, abs=0.002)
    undistorted = one(NAMED["cubic"], 2.8, 2.0, 0.0)
    assert crystal.volume == pytest.approx(undistorted.volume)


@pytest.mark.parametrize("name", ["rhombohedral", "orthorhombic"])
def test_tilting_shortens_the_shortest_a_x_distance(name):
    def shortest(tilt):
        crystal = one(NAMED[name], 2.75, 2.0, tilt)
        a = crystal.indices_from_symbol("La")[0]
        return min(s.nn_distance for s in crystal.get_neighbors(crystal[a], 3.5) if s.specie.symbol == "O")

    assert shortest(0.3) < shortest(0.2) < shortest(0.1) < shortest(0.0)


@by_phase
def test_many_crystals_at_once_are_what_they_are_one_by_one(phase):
    rng = np.random.default_rng(0)
    ax, bx, distortion = rng.uniform(2.6, 3.4, 5), rng.uniform(1.9, 2.4, 5), rng.uniform(0.02, 0.3, 5)
    cells, frac = build(phase, ax, bx, distortion)
    for i in range(5):
        alone = one(phase, ax[i], bx[i], distortion[i])
        np.testing.assert_allclose(cells[i], alone.lattice.matrix, atol=1e-12)
        np.testing.assert_allclose(frac[i], alone.frac_coords, atol=1e-12)


@pytest.mark.parametrize(("name", "further"), [("rhombohedral", -1), ("orthorhombic", -1), ("tetragonal", 1)])
def test_distortions_grow_as_the_tolerance_factor_leaves_one(name, further):
    t = 1.0 + further * np.linspace(0.0, 0.15, 20)
    assert (np.diff(NAMED[name].distortion(t)) > 0).all()


def test_tilts_are_those_known_of_ferrates():
    # 11.8 and 16.7 degrees, from the positions in LaFeO3 and GdFeO3, with the tolerance factors of Shannon's radii.
    assert NAMED["orthorhombic"].distortion(np.array([0.954, 0.908])) == pytest.approx([0.206, 0.292], abs=0.015)


def test_phases_follow_each_other_as_the_tolerance_factor_grows():
    t = np.linspace(0.8, 1.15, 351)
    likelihood = {name: np.exp(phase.log_likelihood(t, np.full_like(t, 0.43))) for name, phase in NAMED.items()}
    centre = {name: (t * p).sum() / p.sum() for name, p in likelihood.items()}
    order = ["orthorhombic", "rhombohedral", "cubic", "tetragonal", "hexagonal"]
    assert sorted(centre, key=centre.__getitem__) == order
    for one_, other in itertools.pairwise(order):
        p, q = (likelihood[name] / likelihood[name].sum() for name in (one_, other))
        assert 0.05 < np.minimum(p, q).sum() < 0.75, f"{one_} and {other} should overlap in part"


def test_a_small_b_ion_favours_polar_and_face_sharing_crystals():
    t, mu = np.full(2, 1.03), np.array([0.38, 0.5])
    for name in ("tetragonal", "hexagonal"):
        small, large = NAMED[name].log_likelihood(t, mu) - NAMED["cubic"].log_likelihood(t, mu)
        assert small > large
