"""The scikit-learn classifier: on crystals with a tiny network, and scikit-learn's own checks on rows."""

from __future__ import annotations

import pickle
from functools import cache

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.io.ase import AseAtomsAdaptor
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import matcard
from matcard import CrystalClassifier, formula_groups
from matcard.errors import InputError
from matcard.losses import make_options
from matcard.training.options import TrainerOptions

SALTS = [("Na", "Cl"), ("K", "Br"), ("Li", "F"), ("Rb", "I"), ("Cs", "Cl"), ("Mg", "O"), ("Ca", "O"), ("K", "F"),
         ("Na", "I"), ("Li", "Br")]  # fmt: skip


@cache
def salts():
    """Salts of two structures, three cells each."""
    structures, kinds = [], []
    for a, b in SALTS:
        for k in range(3):
            structures += [bulk(a + b, "rocksalt", a=5 + 0.1 * k), bulk(a + b, "cesiumchloride", a=3.3 + 0.1 * k)]
            kinds += ["rocksalt", "caesium"]
    return structures, np.array(kinds)


def tiny(**more) -> CrystalClassifier:
    small = {"loss": "cross_entropy", "max_epochs": 4, "batch_size": 16, "lr": 0.02, **more}
    return CrystalClassifier(**small).set_params(model="cgcnn", model__width=8, model__hidden=8, model__dropout=0.0)


@pytest.fixture(scope="module")
def fitted():
    return tiny().fit(*salts())


def test_it_learns_and_keeps_the_order_of_classes(fitted):
    structures, kinds = salts()
    assert fitted.classes_.tolist() == ["caesium", "rocksalt"]
    assert fitted.score(structures, kinds) > 0.9
    probabilities = fitted.predict_proba(structures)
    assert probabilities.shape == (60, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)


def test_objects_of_both_libraries_and_files_are_one(fitted, tmp_path):
    structures = salts()[0][:4]
    expected = fitted.predict_proba(structures)
    others = [AseAtomsAdaptor.get_structure(atoms) for atoms in structures]
    np.testing.assert_allclose(fitted.predict_proba([*others[:2], *structures[2:]]), expected, atol=1e-5)
    paths = [tmp_path / f"{k}.cif" for k in range(4)]
    for path, structure in zip(paths, others, strict=True):
        structure.to(filename=str(path))
    np.testing.assert_allclose(fitted.predict_proba(paths), expected, atol=1e-4)
    np.testing.assert_allclose(fitted.predict_proba([str(path) for path in paths]), expected, atol=1e-4)


def test_other_labels_come_back_as_they_were():
    structures, kinds = salts()
    codes = np.where(kinds == "rocksalt", 10, 7)
    model = tiny(max_epochs=1).fit(structures, codes)
    assert model.classes_.tolist() == [7, 10]
    assert model.predict(structures).dtype == codes.dtype
    assert tiny(max_epochs=1).fit(structures, kinds == "rocksalt").classes_.tolist() == [False, True]


def test_parameters_reach_into_parts():
    model = CrystalClassifier(loss="error", trainer=TrainerOptions(max_epochs=9))
    assert model.get_params()["loss__scale"] == make_options("error").scale
    assert model.get_params()["trainer__max_epochs"] == 9
    model.set_params(loss__scale=3.5, optimizer__lr=0.1)
    assert (model.loss.scale, model.optimizer.lr) == (3.5, 0.1)
    both = clone(model).set_params(loss="reweight", loss__scale=2.0)
    assert (both.loss.name, both.loss.scale) == ("reweight", 2.0)
    assert model.loss.name == "error"
    assert "loss__scale" not in model.get_params(deep=False)
    for wrong in ("loss__scal", "moons", "random_state__x"):
        with pytest.raises(ValueError, match=wrong.split("__")[0]):
            model.set_params(**{wrong: 1})


def test_clone_and_pickle_before_and_after_fit(fitted):
    structures, _ = salts()
    again = clone(fitted)
    assert not hasattr(again, "predictor_")
    assert repr(again.get_params()) == repr(fitted.get_params())
    unfitted = pickle.loads(pickle.dumps(tiny()))
    assert repr(unfitted.get_params()) == repr(tiny().get_params())
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(structures), fitted.predict_proba(structures))


def test_the_same_state_gives_the_same_and_refitting_forgets(fitted):
    structures, kinds = salts()
    model = tiny(random_state=3).fit(structures, kinds)
    one = model.predict_proba(structures)
    np.testing.assert_array_equal(tiny(random_state=3).fit(structures, kinds).predict_proba(structures), one)
    assert not np.allclose(one, fitted.predict_proba(structures))
    model.fit(structures[:40], kinds[:40])
    np.testing.assert_array_equal(model.fit(structures, kinds).predict_proba(structures), one)
    state = [tiny(max_epochs=1, random_state=np.random.RandomState(5)).fit(structures, kinds) for _ in range(2)]
    np.testing.assert_array_equal(*(model.predict_proba(structures) for model in state))


def test_what_cannot_be_fitted_or_predicted(fitted):
    structures, kinds = salts()
    with pytest.raises(NotFittedError):
        tiny().predict(structures)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        tiny().fit(structures, kinds[:-1])
    with pytest.raises(ValueError, match="one class: rocksalt"):
        tiny().fit(structures, np.full(60, "rocksalt"))
    touching = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.01]], cell=[4, 4, 4], pbc=True)
    with pytest.raises(InputError, match=r"^X\[2\]: "):
        tiny().fit([*structures[:2], touching, *structures[3:]], kinds)
    with pytest.raises(InputError, match=r"^X\[1\]: "):
        fitted.predict([structures[0], touching])
    with pytest.raises(InputError, match="validation is 1"):
        tiny(validation=1).fit(structures, kinds)
    with pytest.raises(InputError, match="loss is 3: a name or an object of options"):
        tiny(loss=3).fit(structures, kinds)


def test_missing_classes_and_several_devices_are_refused():
    structures, kinds = salts()
    with pytest.raises(InputError, match=r"y\[3\] is missing"):
        tiny().fit(structures, [*kinds[:3], None, *kinds[4:]])
    with pytest.raises(InputError, match="one device"):
        tiny(trainer=TrainerOptions(devices=2)).fit(structures, kinds)


def test_a_directory_is_not_taken_up_again_and_random_states_stay(tmp_path):
    structures, kinds = salts()
    model = tiny(max_epochs=1, run_dir=tmp_path / "run")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    model.fit(structures, kinds)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    with pytest.raises(InputError, match="exists and is not empty"):
        model.fit(structures, kinds)


def test_no_formula_is_on_both_sides_of_the_inner_division(monkeypatch):
    structures, kinds = salts()
    seen = {}
    divided = CrystalClassifier._divided

    def watched(self, samples, groups, seed):
        found = divided(self, samples, groups, seed)
        seen["groups"], seen["split"] = groups, found.split
        return found

    monkeypatch.setattr(CrystalClassifier, "_divided", watched)
    for given in (None, np.arange(60) // 20):
        tiny(max_epochs=1).fit(structures, kinds, groups=given)
        groups, split = seen["groups"], seen["split"]
        assert set(groups[split.train]).isdisjoint(groups[split.val])
        assert len(split.train) + len(split.val) == 60
        assert len(np.unique(groups)) == (10 if given is None else 3)


def test_nothing_is_written_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    structures, kinds = salts()
    tiny(max_epochs=1).fit(structures, kinds)
    assert not list(tmp_path.iterdir())
    tiny(max_epochs=1, run_dir=tmp_path / "run").fit(structures, kinds)
    assert (tmp_path / "run" / "metrics.csv").is_file()
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def test_what_is_saved_is_loaded_without_pickle(fitted, tmp_path):
    structures, _ = salts()
    fitted.save(tmp_path / "model")
    again = CrystalClassifier.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(again.predict(structures), fitted.predict(structures))
    np.testing.assert_array_equal(again.predict_proba(structures), fitted.predict_proba(structures))
    table = matcard.load_run(tmp_path / "model", device="cpu").predict(structures)
    assert table["predicted"].tolist() == fitted.predict(structures).tolist()
    with pytest.raises(NotFittedError):
        tiny().save(tmp_path / "none")


def test_cross_validation_and_a_search_over_an_option_of_a_part():
    structures, kinds = salts()
    groups = formula_groups(structures)
    assert groups[:6].tolist() == ["NaCl"] * 6
    folds = StratifiedGroupKFold(3)
    scores = cross_val_score(tiny(max_epochs=2), structures, kinds, groups=groups, cv=folds)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()
    search = GridSearchCV(tiny(loss="reweight", max_epochs=1), {"loss__scale": [1.0, 3.0]}, cv=folds)
    search.fit(structures, kinds, groups=groups)
    assert search.best_params_["loss__scale"] in (1.0, 3.0)
    assert search.best_estimator_.loss.scale == search.best_params_["loss__scale"]


@pytest.mark.slow
@parametrize_with_checks(
    [CrystalClassifier(loss="cross_entropy", model="mlp", max_epochs=40, batch_size=16, lr=0.02)],
    expected_failed_checks=lambda estimator: {
        "check_methods_subset_invariance": "single precision: the last digit depends on the size of a batch"
    },
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks_on_rows(estimator, check):
    check(estimator)
