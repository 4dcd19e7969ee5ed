"""matminer's features of structures: its own numbers, computed once, failures listed."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matcard.crystals import from_objects
from matcard.data import structure_features
from matcard.data.structure_features import open_features
from matcard.errors import InputError

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
IRON = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SKEWED = Structure(
    Lattice.from_parameters(3.1, 4.2, 5.3, 80, 95, 103),
    ["Li", "O", "Ti"],
    [[0, 0, 0], [0.5, 0.47, 0.2], [0.3, 0.8, 0.6]],
)


@pytest.fixture
def crystals():
    return from_objects([SALT, IRON, SKEWED], ["salt", "iron", "skewed"])


class Calls(list):
    def __call__(self, done, total):
        self.append((done, total))


def test_density_is_that_of_the_structures(crystals, tmp_path):
    table = open_features(crystals, tmp_path, ["density"])
    assert table.features.index.tolist() == ["salt", "iron", "skewed"]
    assert list(table.features) == ["density", "vpa", "packing fraction"]
    for structure, row in zip([SALT, IRON, SKEWED], table.features.to_numpy(), strict=True):
        np.testing.assert_allclose(row[:2], [structure.density, structure.volume / len(structure)])
        radii = [float(site.specie.atomic_radius) for site in structure]
        np.testing.assert_allclose(row[2], 4 / 3 * np.pi * np.sum(np.power(radii, 3)) / structure.volume)
    assert table.failed.empty


def test_symmetry(crystals, tmp_path):
    table = open_features(crystals, tmp_path, ["symmetry"]).features
    assert table["spacegroup_num"].tolist() == [225, 229, 1]
    assert table["crystal_system_int"].tolist() == [1, 1, 7]
    assert table["is_centrosymmetric"].tolist() == [1, 1, 0]
    # Eight sites on two orbits; two on one; three on three.
    np.testing.assert_allclose(table["structural complexity per atom"], [1, 0, np.log2(3)], atol=1e-12)


def test_sites(crystals, tmp_path):
    table = open_features(crystals.take([0]), tmp_path, ["sites"]).features
    assert table.shape == (1, 122)
    np.testing.assert_allclose(table.loc["salt", "mean octahedral CN_6"], 1, atol=1e-3)
    np.testing.assert_allclose(table.loc["salt", "std_dev octahedral CN_6"], 0, atol=1e-3)


def test_kinds_stand_side_by_side(crystals, tmp_path):
    table = open_features(crystals, tmp_path).features
    assert table.shape == (3, 135)
    assert table.loc["iron", "MagpieData mean Number"] == 26
    assert table.columns.is_unique


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_second_time_nothing_is_computed(crystals, tmp_path, monkeypatch, jobs):
    monkeypatch.setattr(structure_features, "_CHUNK", 1)
    first, second = Calls(), Calls()
    with joblib.parallel_config(backend="threading"):
        once = open_features(crystals, tmp_path, progress=first, jobs=jobs)
    again = open_features(crystals, tmp_path, progress=second)
    np.testing.assert_array_equal(once.features, again.features)
    assert first == [(1, 3), (2, 3), (3, 3)]
    assert second == []
    other = open_features(crystals.take([0, 2]), tmp_path, progress=second)
    assert second == [(1, 2), (2, 2)]
    np.testing.assert_array_equal(other.features, once.features.iloc[[0, 2]])


def test_what_fails_is_listed_and_the_rest_computed(crystals, tmp_path, monkeypatch):
    class Fussy:
        def feature_labels(self):
            return ["a", "b"]

        def featurize(self, structure):
            if len(structure) == 2:
                raise RuntimeError("no\n  iron")
            return [1.0, len(structure)]

    monkeypatch.setattr(structure_features, "_featurizers", lambda kind: [Fussy()])
    monkeypatch.setattr(structure_features, "_CHUNK", 2)
    for _ in range(2):
        table = open_features(crystals, tmp_path, ["density", "magpie"])
        assert table.failed.to_numpy().tolist() == [["iron", "density", "RuntimeError: no iron"]]
        np.testing.assert_array_equal(table.features[["a", "b"]], [[1, 8], [np.nan, np.nan], [1, 3]])
        assert table.features["MagpieData mean Number"].notna().all()


def test_an_interrupted_computation_goes_on(crystals, tmp_path, monkeypatch):
    monkeypatch.setattr(structure_features, "_CHUNK", 1)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_features(crystals, tmp_path, ["density"], progress=stop)
    calls, computed = Calls(), []
    compute = structure_features._compute
    monkeypatch.setattr(
        structure_features, "_compute", lambda some, kind: computed.extend(some.ids) or compute(some, kind)
    )
    table = open_features(crystals, tmp_path, ["density"], progress=calls)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert computed == ["skewed"]
    np.testing.assert_allclose(table.features["density"], [s.density for s in (SALT, IRON, SKEWED)])


def test_an_unknown_kind_is_refused(crystals, tmp_path):
    with pytest.raises(InputError, match="no features of kind 'site'; did you mean sites"):
        open_features(crystals, tmp_path, ("magpie", "site"))


def test_no_crystals(crystals, tmp_path):
    table = open_features(crystals.take([]), tmp_path)
    assert table.features.shape == (0, 135)
