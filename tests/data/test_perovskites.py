from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Composition
from sample_cases import coded, of_crystals
from sklearn.metrics import f1_score
from sklearn.tree import DecisionTreeClassifier

from matcard.crystals.validate import find_faults
from matcard.data.groups import group_keys
from matcard.data.options import SplitOptions
from matcard.data.perovskites import PHASES, enumerate_compositions, perovskite_phases
from matcard.data.splits import split_samples

# What seed 0 gives, on every platform. When the generator is changed on purpose, so is this.
CONTENT = "3fa78507eafca7b05ad00fe7cd231123ef8e7d78e9b716795cd5af272900a1b3"


@pytest.fixture(scope="module")
def phases():
    return perovskite_phases()


def content(crystals):
    arrays = vars(crystals) | {name: crystals.columns[name].to_numpy() for name in crystals.columns}
    digest = hashlib.sha256()
    for name in ("lattice", "frac_coords", "tolerance_factor", "octahedral_factor"):
        digest.update((arrays[name] * 1e6).round().astype("<i8").tobytes())
    for name in ("offsets", "numbers", "spacegroup"):
        digest.update(arrays[name].astype("<i8").tobytes())
    for name in ("ids", "formula", "phase"):
        digest.update("\n".join(arrays[name]).encode())
    return digest.hexdigest()


def test_size_and_imbalance(phases):
    assert 3800 < len(phases) < 4500
    shares = phases.columns["phase"].value_counts(normalize=True)
    assert set(shares.index) == {"cubic", "tetragonal", "rhombohedral", "orthorhombic", "hexagonal"}
    assert 0.02 <= shares.min() <= 0.04
    assert shares.idxmin() == "tetragonal"
    assert phases.sound.all()


@pytest.mark.parametrize("seed", range(4))
def test_every_split_has_25_of_the_rarest_phase_in_its_test_part(phases, seed):
    names, codes = np.unique(phases.columns["phase"], return_inverse=True)
    split = split_samples(coded(of_crystals(phases), codes), SplitOptions(), seed=seed)
    assert (names[codes[split.test]] == "tetragonal").sum() >= 25


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_crystals_are_sound(seed):
    crystals = perovskite_phases(seed)
    assert [fault for fault in find_faults(crystals) if fault is not None] == []
    assert ((crystals.frac_coords >= 0) & (crystals.frac_coords < 1)).all()
    assert (np.linalg.det(crystals.lattice) > 0).all()
    assert len(set(crystals.ids)) == len(crystals)


def test_bonds_are_about_as_long_as_the_radii_say(phases):
    compositions = enumerate_compositions()
    for i in range(0, 400, 10):
        crystal = phases.structure(i)
        radii = compositions.radii[compositions.formulas.index(phases.columns["formula"][i])]
        b = len(crystal) // 5  # A sites come first, then B
        distances = np.sort(crystal.lattice.get_all_distances(*(2 * [crystal.frac_coords]))[b][2 * b :])
        assert distances[:2].mean() == pytest.approx(radii[1] + radii[2], rel=0.2)
        assert distances.min() > 0.6 * (radii[1] + radii[2])


def test_columns_say_what_the_crystals_are(phases):
    columns = phases.columns
    compositions = enumerate_compositions()
    number = {phase.name: phase.number for phase in PHASES}
    assert columns["spacegroup"].tolist() == [number[name] for name in columns["phase"]]
    where = {formula: i for i, formula in enumerate(compositions.formulas)}
    which = [where[formula] for formula in columns["formula"]]
    for name in ("tolerance_factor", "octahedral_factor"):
        np.testing.assert_allclose(columns[name], getattr(compositions, name)[which], atol=1e-6)
    for key, formula in list(zip(group_keys(of_crystals(phases), "formula"), columns["formula"], strict=True))[:500]:
        assert Composition(key) == Composition(formula)
    sites = columns["phase"].map({"cubic": 5, "tetragonal": 5, "rhombohedral": 10, "orthorhombic": 20, "hexagonal": 10})
    assert phases.num_sites.tolist() == sites.tolist()


def test_compositions_have_several_phases_and_snapshots(phases):
    of_formula = phases.columns.groupby("formula")["phase"].agg(["size", "nunique"])
    assert (of_formula["nunique"] > 1).mean() > 0.25
    assert of_formula["size"].max() < 40
    tetragonal = phases.columns[phases.columns["phase"] == "tetragonal"]
    assert tetragonal["formula"].nunique() > 60


def test_radii_alone_decide_little_but_something(phases):
    codes = pd.factorize(phases.columns["phase"])[0]
    factors = phases.columns[["tolerance_factor", "octahedral_factor"]].to_numpy()
    split = split_samples(coded(of_crystals(phases), codes), SplitOptions())
    tree = DecisionTreeClassifier(max_depth=6, random_state=0).fit(factors[split.train], codes[split.train])
    score = f1_score(codes[split.test], tree.predict(factors[split.test]), average="macro")
    assert 0.4 < score < 0.7


def test_snapshots_of_a_phase_differ_by_heat_and_strain(phases):
    cubic = np.flatnonzero(phases.columns["phase"] == "cubic")[:200]
    moved, strained = [], []
    for i in cubic:
        crystal = phases.structure(int(i))
        apart = crystal.frac_coords - [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
        # The three X sites come in an order of their own; B alone tells how far sites move.
        moved.append(np.abs((apart - apart.round())[1] * crystal.lattice.abc))
        strained.append(np.std(crystal.lattice.abc) / np.mean(crystal.lattice.abc))
    assert np.sqrt(np.square(moved).mean()) == pytest.approx(0.08 * 0.7 * np.sqrt(450 / 300), rel=0.15)
    assert np.mean(strained) == pytest.approx(0.012 * 0.72, rel=0.25)


def test_the_content_is_the_same_everywhere():
    assert content(perovskite_phases()) == CONTENT


def test_another_seed_gives_other_crystals_and_the_same_numbers_of_phases():
    first, second = perovskite_phases(1), perovskite_phases(2)
    assert not np.array_equal(first.lattice, second.lattice)
    pd.testing.assert_series_equal(first.columns["phase"].value_counts(), second.columns["phase"].value_counts())
