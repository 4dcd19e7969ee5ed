"""The classifier of scikit-learn: over structures, paths and rows, alone and within scikit-learn's own tools."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from matcard import CrystalClassifier, formula_groups, load_run
from matcard.errors import InputError
from matcard.graphs.neighbors import GraphOptions
from matcard.losses import Focal, Reweight, make_options
from matcard.models import CGCNNOptions, MLPOptions
from matcard.training.options import TrainerOptions

SMALL = CGCNNOptions(width=4, hidden=4, convolutions=1)
QUICK = {"max_epochs": 2, "batch_size": 16, "trainer": TrainerOptions(accelerator="cpu")}


def small(**params):
    return CrystalClassifier(**{"model": SMALL, **QUICK, **params})


def salt(name, prototype, a):
    return AseAtomsAdaptor.get_structure(bulk(name, prototype, a=a))


@pytest.fixture(scope="module")
def salts():
    """20 binary salts in two structures, in an order in which neither the classes nor the formulas are sorted."""
    names = [metal + halogen for metal in ("Na", "K", "Rb", "Cs", "Li") for halogen in ("Cl", "Br")]
    made = [(salt(name, "rocksalt", 5.5 + k / 20), "rocksalt") for k, name in enumerate(names)]
    made += [(salt(name, "cesiumchloride", 3.8 + k / 20), "CsCl type") for k, name in enumerate(names)]
    order = np.random.default_rng(0).permutation(len(made))
    return [made[k][0] for k in order], np.array([made[k][1] for k in order])


@pytest.fixture(scope="module")
def fitted(salts):
    return small().fit(*salts)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return pd.DataFrame(X, columns=["a", "b", "c"]), pd.Series(np.where(X[:, 0] > 0, "high", "low"), name="level")


# Parameters


def test_parameters_reach_into_the_parts():
    classifier = CrystalClassifier(loss="focal", model=SMALL)
    params = classifier.get_params()
    assert params["loss"] == "focal"
    assert params["loss__gamma"] == make_options("focal").gamma
    assert params["model__width"] == 4
    assert params["optimizer__lr"] == 3e-3
    assert params["graph__radius"] == GraphOptions().radius
    assert "loss__gamma" not in classifier.get_params(deep=False)
    assert classifier.set_params(loss__gamma=1.5, model__width=6, lr=0.1) is classifier
    assert classifier.loss == Focal.options_class(gamma=1.5)
    assert classifier.model == CGCNNOptions(width=6, hidden=4, convolutions=1)
    assert SMALL.width == 4, "options that others hold, too, stay as they are"


def test_the_part_is_set_before_what_is_in_it():
    classifier = CrystalClassifier(loss="ce").set_params(loss__scale=2.0, loss="reweight")
    assert classifier.loss == Reweight.options_class(scale=2.0)


def test_options_within_options():
    classifier = CrystalClassifier(loss="error")
    classifier.set_params(loss__base__gamma=3.0, loss__base="focal", loss__scale=2.0, loss__lambda_base=0.5)
    assert classifier.loss == make_options("error", base=Focal.options_class(gamma=3.0), scale=2.0, lambda_base=0.5)
    assert classifier.get_params()["loss__base__gamma"] == 3.0


def test_options_that_hold_together_are_set_together():
    classifier = CrystalClassifier().set_params(decision__rule="target_recall", decision__target=0.8)
    assert (classifier.decision.rule, classifier.decision.target) == ("target_recall", 0.8)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"loss__gama": 1.0}, r"no parameter loss__gama .*did you mean gamma"),
        ({"loss__gamma": -1.0}, "option gamma of loss 'focal' is -1.0"),
        ({"loss__gamma__more": 1.0}, "no parameter loss__gamma__more"),
        ({"los": "ce"}, "Invalid parameter 'los'"),
    ],
)
def test_parameters_that_are_not_there(params, words):
    with pytest.raises(ValueError, match=words):
        CrystalClassifier(loss="focal").set_params(**params)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"loss": "focall"}, "unknown loss 'focall'; did you mean focal"),
        ({"loss": 3}, "loss is 3: its name or an object of LossOptions was expected"),
        ({"model": "mlp"}, "mlp takes crystals by numbers"),
        ({"model": "glassnet"}, "glassnet takes.*use cgcnn"),
        ({"descriptors": "magpy"}, "magpy"),
        ({"optimizer": "adamm"}, "optimizer.name 'adamm': did you mean adam or adamw"),
        ({"trainer": {"max_epochs": 3}}, "an object of TrainerOptions was expected"),
        ({"trainer": TrainerOptions(devices=2)}, "one device"),
        ({"decision": "bestscore"}, "decision.rule 'bestscore': did you mean best_score"),
        ({"validation_fraction": 1.5}, "validation part is 1.5"),
        ({"max_epochs": 0}, "max_epochs is 0"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"random_state": -1}, "seed"),
        ({"value_weight": -1.0}, "value.weight is -1.0"),
    ],
)
def test_values_are_refused_in_fit_as_scikit_learn_asks(salts, params, words):
    with pytest.raises(ValueError, match=words):
        small(**params).fit(*salts)


def test_clone_gives_the_same_parameters_without_what_was_learned(fitted):
    copy = clone(fitted).set_params(loss__scale=2.0)
    assert clone(copy).get_params(deep=False) == {**fitted.get_params(deep=False), "loss": copy.loss}
    with pytest.raises(NotFittedError):
        copy.predict([])


def test_keywords_go_before_the_parts():
    config = CrystalClassifier(trainer=TrainerOptions(max_epochs=9, patience=2), max_epochs=3, lr=0.5)._config(
        "table", "y"
    )
    assert (config.trainer.max_epochs, config.trainer.patience, config.optimizer.lr) == (3, 2, 0.5)
    assert config.model == MLPOptions()
    assert CrystalClassifier()._config("crystals", "y").model == CGCNNOptions()


# Crystals


def test_fit_and_predict_structures(fitted, salts):
    X, y = salts
    assert fitted.classes_.tolist() == ["CsCl type", "rocksalt"]
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (20, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert set(fitted.predict(X)) <= set(y)
    assert 0 <= fitted.score(X, y) <= 1


def test_the_classes_come_from_the_decision_and_the_probabilities_are_calibrated(fitted, salts):
    X, _ = salts
    member = fitted.predictor_.members[0]
    table = fitted.predictor_.predict(X)
    raw = table[[f"prob_{name}" for name in fitted.classes_]].to_numpy()
    assert fitted.predict(X).tolist() == table["predicted"].tolist()
    logs = np.log(raw) / member.description.calibration.temperature
    expected = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*predicts one class only")  # at first
def test_it_learns(salts):
    X, y = salts
    classifier = small(loss="ce", max_epochs=20, batch_size=8, lr=0.03)
    classifier.set_params(model__width=8, model__hidden=8, model__dropout=0.0)
    assert classifier.fit(X, y).score(X, y) >= 0.9


def test_structures_atoms_and_paths_are_the_same(fitted, salts, tmp_path):
    X, _ = salts
    X[1].to(str(tmp_path / "one.cif"))
    X[2].to(str(tmp_path / "two.cif"))
    mixed = [AseAtomsAdaptor.get_atoms(X[0]), tmp_path / "one.cif", str(tmp_path / "two.cif")]
    np.testing.assert_allclose(fitted.predict_proba(mixed), fitted.predict_proba(X[:3]), atol=1e-5)
    assert formula_groups(mixed).tolist() == formula_groups(X[:3]).tolist()
    as_series = pd.Series(mixed, index=[7, 3, 9])
    np.testing.assert_array_equal(fitted.predict_proba(as_series), fitted.predict_proba(mixed))


def test_structures_that_cannot_be_used_are_named_by_their_index(fitted, salts, tmp_path):
    X, y = salts
    overlapping = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.01, 0, 0]])
    (tmp_path / "cut.cif").write_text("data_cut\n_cell_length_a 4")
    for what in (overlapping, tmp_path / "cut.cif", tmp_path / "absent.cif"):
        bad = [*X[:4], what, *X[5:]]
        with pytest.raises(InputError, match=r"1 of 20 crystals cannot be used.*structures\[4\]"):
            small().fit(bad, y)
        with pytest.raises(InputError, match=r"structures\[4\]"):
            fitted.predict(bad)
        with pytest.raises(InputError, match=r"structures\[4\]"):
            formula_groups(bad)
    with pytest.raises(InputError, match=r"structures\[1\] is a int: a pymatgen Structure, an ase.Atoms or the path"):
        fitted.predict([X[0], 3])
    with pytest.raises(InputError, match="a single Structure: give a list"):
        small().fit(X[0], y)


def test_formula_groups():
    halite = salt("NaCl", "rocksalt", 5.6)
    assert formula_groups([halite, halite * (2, 1, 1), salt("CsCl", "cesiumchloride", 4.1)]).tolist() == [
        "NaCl",
        "NaCl",
        "CsCl",
    ]


def test_validation_holds_whole_formulas_or_the_groups_that_are_given(salts, tmp_path):
    X, y = salts
    groups = np.arange(20) % 4
    for name, keys, given in (("formula", formula_groups(X), None), ("groups", groups, groups)):
        small(max_epochs=1, run_dir=tmp_path / name).fit(X, y, groups=given)
        split = pd.read_json(tmp_path / name / "split.json", typ="series")
        assert split["kind"] == name
        assert split["test"] == []
        train, val = ({keys[int(i[2:-1])] for i in split[part]} for part in ("train", "val"))
        assert train
        assert val
        assert not train & val


def test_one_formula_needs_groups():
    X = [salt("NaCl", "rocksalt", 5.5 + k / 50) for k in range(8)] + [salt("NaCl", "cesiumchloride", 3.3)] * 8
    y = np.repeat([0, 1], 8)
    with pytest.raises(InputError, match=r"all 16 samples are of one group \(formula NaCl\).*groups=numpy.arange"):
        small().fit(X, y)
    assert small().fit(X, y, groups=np.arange(16)).classes_.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["a"] * 20, "y holds one class, .*'a'.*, in all 20 samples"),
        (["a"] * 10 + ["b"] * 9, "inconsistent numbers of samples"),
        (["a"] * 10 + [None] * 10, r"y\[10\] is missing"),
        (np.linspace(0, 1, 20), "continuous"),
        (np.eye(20), "1d array"),
        (None, "y is None"),
    ],
)
def test_labels_that_cannot_be_used(salts, y, words):
    with pytest.raises(ValueError, match=words):
        small().fit(salts[0], y)


@pytest.mark.parametrize("values", [[3, 1], [True, False], ["b", "a"], [2.0, 0.0], [np.int8(2), np.int8(1)]])
def test_classes_are_sorted_and_come_back_as_they_were_given(values, rows, tmp_path):
    X = rows[0]
    y = np.array(values)[(X["a"] > 0).to_numpy().astype(int)]
    classifier = CrystalClassifier("ce", max_epochs=1, trainer=QUICK["trainer"]).fit(X, y)
    np.testing.assert_array_equal(classifier.classes_, np.unique(y))
    assert set(classifier.predict(X)) <= set(values)
    classifier.save(tmp_path / "model")
    loaded = CrystalClassifier.load(tmp_path / "model", device="cpu")
    assert loaded.classes_.dtype.kind == classifier.classes_.dtype.kind
    np.testing.assert_array_equal(loaded.predict(X), classifier.predict(X))


# What is written and what is kept


def test_nothing_is_written_unless_a_directory_is_given(salts, tmp_path, monkeypatch):
    X, y = salts
    X[0].to(str(tmp_path / "one.cif"))
    for name in ("cache", "tmp", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "here")
    small(max_epochs=1).fit([tmp_path / "one.cif", *X[1:]], y).predict(X)
    assert [list((tmp_path / name).iterdir()) for name in ("cache", "tmp", "here")] == [[], [], []]


def test_a_directory_holds_a_run_that_other_commands_take(salts, tmp_path):
    X, y = salts
    classifier = small(run_dir=tmp_path / "run").fit(X, pd.Series(y, name="structure"))
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.yaml", "split.json", "metrics.csv", "predictions.parquet", "model"} <= files
    assert "test_metrics.json" not in files
    run = load_run(tmp_path / "run", device="cpu")
    assert run.description.target["column"] == "structure"
    assert run.predict(X)["predicted"].tolist() == classifier.predict(X).tolist()
    with pytest.raises(InputError, match="exists and is not empty"):
        classifier.fit(X, y)


def test_save_and_load(fitted, salts, tmp_path):
    X, _ = salts
    fitted.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "model.json", "model.safetensors", "training.json"
    }  # fmt: skip
    loaded = CrystalClassifier.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert loaded.predict(X).tolist() == fitted.predict(X).tolist()
    assert loaded.model == SMALL
    assert loaded.trainer.max_epochs == 2
    loaded.save(tmp_path / "again")
    for file in ("model.json", "training.json"):
        assert (tmp_path / "again" / file).read_text() == (tmp_path / "model" / file).read_text()
    assert clone(loaded).fit(*salts).classes_.tolist() == fitted.classes_.tolist()
    with pytest.raises(NotFittedError):
        small().save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_pickling_before_and_after_fit(fitted, salts):
    X, y = salts
    copy = pickle.loads(pickle.dumps(small(loss="focal")))
    assert copy.loss == "focal"
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.fit(X, y).classes_.tolist() == fitted.classes_.tolist()


def test_it_is_reproducible_by_random_state_and_leaves_that_of_others_alone(salts):
    X, y = salts
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (small(random_state=seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    drawn = [small(random_state=np.random.RandomState(3)).fit(X, y).predict_proba(X) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)


def test_fitting_again_forgets_what_was_learned(salts, rows):
    X, y = salts
    twice = small().fit(X[:14], np.where(y == "rocksalt", "x", "y")[:14])
    np.testing.assert_array_equal(twice.fit(X, y).predict_proba(X), small().fit(X, y).predict_proba(X))
    assert twice.classes_.tolist() == ["CsCl type", "rocksalt"]


def test_not_fitted(salts):
    for ask in (CrystalClassifier().predict, CrystalClassifier().predict_proba):
        with pytest.raises(NotFittedError):
            ask(salts[0])


def test_what_was_fitted_and_what_is_asked_differ(fitted, salts, rows):
    with pytest.raises(InputError, match=r"structures\[0\]"):
        fitted.predict(rows[0].to_numpy())
    with pytest.raises(InputError, match="X holds structures"):
        CrystalClassifier("ce", max_epochs=1, trainer=QUICK["trainer"]).fit(*rows).predict(salts[0])


# Further numbers


@pytest.mark.parametrize("model", [SMALL, "mlp"])
def test_descriptors_are_given_to_the_network_and_to_predictions(salts, tmp_path, monkeypatch, model):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "cache"))
    X, y = salts
    classifier = small(model=model, descriptors="volume").fit(X, y)
    assert [part.name for part in classifier.predictor_.kind.descriptors] == ["volume"]
    strained = [structure.copy() for structure in X]
    for structure in strained:
        structure.apply_strain(0.02)
    assert not np.array_equal(classifier.predict_proba(strained), classifier.predict_proba(X))
    classifier.save(tmp_path / "model")
    loaded = CrystalClassifier.load(tmp_path / "model", device="cpu")
    assert loaded.descriptors == "volume"
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))


def test_descriptors_alone_need_no_graphs(salts, tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delattr("matcard.data.crystals.build_graphs")
    monkeypatch.delattr("matcard.data.crystals.open_graphs")
    classifier = small(model="mlp", descriptors="volume").fit(*salts)
    assert classifier.predictor_.kind.graph is None
    assert classifier.predict(salts[0]).shape == (20,)


@pytest.mark.parametrize("descriptors", ["volume,columns:a", "file:features.parquet"])
def test_descriptors_that_are_looked_up_are_refused(salts, descriptors):
    with pytest.raises(InputError, match="objects of Python have neither columns nor ids to look numbers up by"):
        small(model="mlp", descriptors=descriptors).fit(*salts)


def test_descriptors_are_of_crystals_alone(rows):
    with pytest.raises(InputError, match="numbers of crystals; for table rows leave it out"):
        CrystalClassifier("ce", descriptors="volume").fit(*rows)


def test_values_are_learned_beside_the_classes(rows, tmp_path):
    X, y = rows
    values = pd.DataFrame({"twice": 2 * X["a"] + 5, "partly": X["b"].where(X["b"] > 0)})
    learned = CrystalClassifier("ce", value_weight=3.0, **{**QUICK, "max_epochs": 60}, lr=0.01)
    table = learned.fit(X, y, values=values).predictor_.predict(X)
    assert np.corrcoef(table["value_twice"], values["twice"])[0, 1] > 0.9
    assert table["value_partly"].notna().all()
    assert learned.score(X, y) > 0.8
    learned.save(tmp_path / "model")
    assert CrystalClassifier.load(tmp_path / "model").value_weight == 3.0
    assert not [name for name in learned.fit(X, y).predictor_.predict(X) if name.startswith("value_")]


def test_values_of_an_array_are_named_by_their_order(salts):
    X, y = salts
    volumes = np.array([structure.volume for structure in X])
    table = small(max_epochs=1).fit(X, y, values=np.stack([volumes, -volumes], axis=1)).predictor_.predict(X)
    assert {"value_value0", "value_value1"} <= set(table)


def test_the_number_that_classes_are_made_of_may_have_their_name(salts):
    X, _ = salts
    gap = pd.Series([structure.volume for structure in X], name="gap")
    classifier = small(max_epochs=1, model="mlp", descriptors=["volume", "magpie"])
    for values in (gap, {"gap": gap.tolist()}):
        learned = classifier.fit(X, gap > gap.median(), values=values).predictor_
        assert "value_gap" in learned.predict(X)
    assert learned.description.config["data"]["descriptors"] == "volume,magpie"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones(19), "inconsistent numbers of samples"),
        (["large"] * 20, "20 of 20 fields are no finite numbers, 'large' in .*0"),
    ],
)
def test_values_that_cannot_be_learned(salts, values, words):
    with pytest.raises(ValueError, match=words):
        small().fit(*salts, values=values)


# Tools of scikit-learn


def test_cross_validation_by_formula(salts):
    X, y = salts
    scores = cross_val_score(
        small(), X, y, groups=formula_groups(X), cv=StratifiedGroupKFold(2), scoring="balanced_accuracy"
    )
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()


def test_grid_search_over_the_scale(salts):
    X, y = salts
    search = GridSearchCV(small(max_epochs=1), {"loss__scale": [0.5, 4.0]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["loss__scale"] in (0.5, 4.0)
    assert search.best_estimator_.loss == Reweight.options_class(scale=search.best_params_["loss__scale"])
    assert set(search.predict(X)) <= set(y)


def test_rows_in_a_pipeline_keep_their_names(rows, tmp_path):
    X, y = rows
    pipe = make_pipeline(
        StandardScaler().set_output(transform="pandas"), CrystalClassifier("ce", max_epochs=8, lr=0.03)
    )
    assert pipe.fit(X, y).score(X, y) > 0.8
    pipe[-1].save(tmp_path / "model")
    loaded = CrystalClassifier.load(tmp_path / "model")
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(loaded.predict(pipe[0].transform(X)), pipe.predict(X))
    assert loaded.predictor_.predict(pipe[0].transform(X))["predicted"].tolist() == pipe.predict(X).tolist()


@pytest.mark.filterwarnings("ignore::matcard.errors.MatcardWarning", "ignore::UserWarning")
@parametrize_with_checks(
    # Predictions are to be the most likely classes: by default they follow the decision chosen on validation.
    [CrystalClassifier("ce", MLPOptions(hidden=16), decision="argmax", max_epochs=8, lr=0.03, trainer=QUICK["trainer"])]
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_deuterium_is_hydrogen_where_that_is_asked_for(salts, tmp_path):
    structures, classes = salts
    text = Structure(Lattice.cubic(4.1), ["Li", "H"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(fmt="cif")
    path = tmp_path / "heavy.cif"
    path.write_text(text.replace("  H  ", "  D  ").replace("LiH", "LiD").replace("Li1 H1", "Li1 D1"))
    X, y = [path, *structures], [classes[0], *classes]
    with pytest.raises(InputError, match="unknown element 'D'"):
        small().fit(X, y)
    classifier = small(deuterium=True, max_epochs=1, run_dir=tmp_path / "run").fit(X, y)
    classifier.save(tmp_path / "model")
    again = CrystalClassifier.load(tmp_path / "model", device="cpu")
    assert again.deuterium
    expected = classifier.predict_proba([path])
    np.testing.assert_allclose(again.predict_proba([path]), expected, atol=1e-6)
    table = load_run(tmp_path / "run", device="cpu").predict([path])
    assert table["error"].isna().all()
