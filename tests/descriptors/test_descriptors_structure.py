"""Descriptors of structures are matminer's numbers, computed once; what fails has a reason."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matcard.crystals.read import from_objects
from matcard.descriptors import simple
from matcard.descriptors.describe import describe, find_descriptors
from matcard.descriptors.simple import StructureNumbers

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
IRON = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SKEWED = Structure(
    Lattice.from_parameters(3.1, 4.2, 5.3, 80, 95, 103),
    ["Li", "O", "Ti"],
    [[0, 0, 0], [0.5, 0.47, 0.2], [0.3, 0.8, 0.6]],
)
STRUCTURES = [SALT, IRON, SKEWED]


@pytest.fixture
def crystals():
    return from_objects(STRUCTURES, ["salt", "iron", "skewed"])


def numbers(crystals, name):
    """Give each number by its label."""
    found = StructureNumbers(name)
    values, reasons, _ = found.compute(crystals)
    assert reasons.tolist() == [None] * len(crystals)
    return dict(zip(found.labels, values.T, strict=True))


def test_density_is_that_of_the_structures(crystals):
    table = numbers(crystals, "density")
    assert list(table) == ["density", "vpa", "packing fraction"]
    for i, structure in enumerate(STRUCTURES):
        np.testing.assert_allclose(table["density"][i], structure.density, rtol=1e-6)
        np.testing.assert_allclose(table["vpa"][i], structure.volume / len(structure), rtol=1e-6)
        radii = [float(site.specie.atomic_radius) for site in structure]
        packed = 4 / 3 * np.pi * np.sum(np.power(radii, 3)) / structure.volume
        np.testing.assert_allclose(table["packing fraction"][i], packed, rtol=1e-6)


def test_symmetry(crystals):
    table = numbers(crystals, "symmetry")
    assert table["spacegroup_num"].tolist() == [225, 229, 1]
    assert table["crystal_system_int"].tolist() == [1, 1, 7]
    assert table["is_centrosymmetric"].tolist() == [1, 1, 0]
    # Eight sites on two orbits; two on one; three on three.
    np.testing.assert_allclose(table["structural complexity per atom"], [1, 0, np.log2(3)], atol=1e-6)


def test_sites(crystals):
    table = numbers(crystals.take([0]), "sites")
    assert len(table) == 122
    np.testing.assert_allclose(table["mean octahedral CN_6"], 1, atol=1e-3)
    np.testing.assert_allclose(table["std_dev octahedral CN_6"], 0, atol=1e-3)


class Fussy:
    called = 0

    def feature_labels(self):
        return ["a", "b"]

    def featurize(self, structure):
        Fussy.called += 1
        if len(structure) == 2:
            raise RuntimeError("no\n  iron")
        return [1.0, len(structure)]


def test_what_fails_has_a_reason_and_the_rest_is_computed_once(crystals, tmp_path, monkeypatch):
    monkeypatch.setattr(simple, "_featurizers", lambda kind: [Fussy()])
    for calls in (3, 4):  # what failed is tried again
        found = describe(find_descriptors("density,magpie"), crystals, tmp_path)
        np.testing.assert_array_equal(found.values[:, :2], [[1, 8], [np.nan, np.nan], [1, 3]])
        assert found.values.shape == (3, 134)
        assert np.isfinite(found.values[:, 2:]).all()
        assert [reason is None for reason in found.reasons] == [True, False, True]
        assert "--data.descriptors density: RuntimeError: no iron" in found.reasons[1]
        assert Fussy.called == calls


def test_unknown_radii_are_no_numbers():
    heavy = from_objects([Structure(Lattice.cubic(5), ["Og"], [[0, 0, 0]])])
    values, reasons, _ = StructureNumbers("density").compute(heavy)
    assert np.isnan(values).all()
    assert reasons[0] is not None
