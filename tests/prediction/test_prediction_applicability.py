"""How far a crystal is from those of training: by a plain loop, and what is flagged."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_cases import crystals

import matcard
from matcard.errors import InputError
from matcard.prediction import network
from matcard.prediction.network import Reference, unit_length

few = settings(deadline=None, max_examples=30)


def plain_distance(reference, embeddings):
    units = [row / np.linalg.norm(row) for row in embeddings.astype(float)]
    return [np.linalg.norm(reference.astype(float) - unit, axis=1).min() for unit in units]


@few
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 30), st.integers(1, 6))
def test_distance_is_that_of_a_plain_loop(seed, m, n, width):
    rng = np.random.default_rng(seed)
    train = unit_length(rng.normal(size=(m, width)))
    new = rng.normal(size=(n, width)).astype(np.float32)
    got = Reference(train, 1.0).distance(new)
    np.testing.assert_allclose(got, plain_distance(train, new), atol=1e-3)  # equally near ones may change places


def test_near_twins_keep_their_digits():
    train = unit_length(np.array([[1.0, 0.0], [0.0, 1.0]]))
    new = np.array([[1.0, 1e-5], [1.0, 0.0]])
    np.testing.assert_allclose(Reference(train, 1.0).distance(new), [1e-5, 0.0], rtol=1e-3)


def test_length_does_not_matter():
    train, new = np.random.default_rng(0).normal(size=(2, 20, 4))
    reference = Reference(unit_length(train), 1.0)
    np.testing.assert_allclose(reference.distance(new), reference.distance(1000 * new), atol=1e-6)


def test_the_limit_is_a_percentile_of_validation_alone():
    rng = np.random.default_rng(1)
    train, validation = rng.normal(size=(300, 5)), rng.normal(size=(500, 5))
    reference = Reference.fit(train, validation)
    beyond = (reference.novelty(validation) > 1).mean()
    assert 0 < beyond <= 0.0100001
    assert reference.limit == pytest.approx(np.percentile(plain_distance(unit_length(train), validation), 99), rel=1e-3)


def test_blocks_do_not_matter(monkeypatch):
    train, new = np.random.default_rng(2).normal(size=(2, 50, 4))
    whole = Reference(unit_length(train), 1.0).distance(new)
    monkeypatch.setattr(network, "_BLOCK", 60)
    np.testing.assert_array_equal(Reference(unit_length(train), 1.0).distance(new), whole)


def test_a_large_training_part_is_sampled(monkeypatch):
    monkeypatch.setattr(network, "MAX_REFERENCE", 10)
    train = np.random.default_rng(3).normal(size=(40, 4))
    reference = Reference.fit(train, train, seed=5)
    assert reference.embeddings.shape == (10, 4)
    rows = {tuple(row) for row in unit_length(train).tolist()}
    assert all(tuple(row) in rows for row in reference.embeddings.tolist())
    np.testing.assert_array_equal(reference.embeddings, Reference.fit(train, train, seed=5).embeddings)


def test_an_embedding_of_zeros_is_finite():
    reference = Reference.fit(np.eye(3), np.eye(3))
    assert np.isfinite(reference.novelty(np.zeros((1, 3)))).all()
    assert reference.limit == 0.0


@pytest.mark.parametrize(("train", "validation"), [(np.empty((0, 2)), np.eye(2)), (np.eye(2), np.full((1, 2), np.nan))])
def test_parts_without_embeddings_are_refused(train, validation):
    with pytest.raises(InputError, match="part has no embeddings that are finite"):
        Reference.fit(train, validation)


def test_training_crystals_are_applicable(trained):
    run = matcard.load_run(trained, device="cpu")
    ids = set(np.load(trained / "embeddings.npz")["id"][np.load(trained / "embeddings.npz")["split"] == "train"])
    table = run.predict([atoms for atoms in crystals() if atoms.info["id"] in ids])
    assert table["applicable"].all()
    assert table["reason"].isna().all()
    assert (table["novelty"] < 1e-3).all()


def test_elements_that_training_had_not_are_named(trained):
    run = matcard.load_run(trained, device="cpu")
    table = run.predict([bulk("UO", "rocksalt", a=4.9), bulk("NaCl", "rocksalt", a=5.6)])
    assert table["applicable"].tolist() == [False, True]
    assert table["reason"][0].startswith("not in training: U")
    assert table["predicted"].notna().all()


def test_atoms_without_a_neighbour_are_told(trained):
    """The network sees nothing of where they are."""
    table = matcard.load_run(trained, device="cpu").predict(
        [bulk("NaCl", "rocksalt", a=5.6), bulk("NaCl", "rocksalt", a=60.0)]
    )
    assert table["applicable"].tolist() == [True, False]
    assert table["reason"][1].startswith("2 atoms without any neighbour within 8 A")
    assert table["predicted"].notna().all()


def test_a_crystal_far_from_all_others_is_flagged(trained):
    run = matcard.load_run(trained, device="cpu")
    (member,) = run.members
    near = Reference(member.reference.embeddings, member.reference.limit / 1e4)
    run.members = [member._replace(reference=near)]
    far = [atoms for atoms in crystals() if atoms.info["id"] not in _training_ids(trained)]
    table = run.predict(far)
    flagged = table[table["novelty"] > 1]
    assert len(flagged)
    assert not flagged["applicable"].any()
    assert flagged["reason"].str.contains("times as far from the training part").all()


def _training_ids(path):
    saved = np.load(path / "embeddings.npz")
    return set(saved["id"][saved["split"] == "train"])
