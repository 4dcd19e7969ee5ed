"""Experiments as files and on the command line, the shipped ones among them; rivals."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from comparison_cases import TASK, options, write_experiment
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from matcard.compare import parse_options
from matcard.comparison.experiment import catalogue, has_fixed_test, read_experiment
from matcard.comparison.options import CompareOptions
from matcard.comparison.plan import Search
from matcard.comparison.rivals import BoostingOptions, by_mean_rank, features_of, rival_options, run_rival
from matcard.data.options import DataOptions, SyntheticOptions
from matcard.data.read import divide, read_labelled
from matcard.data.splits import Split
from matcard.descriptors.simple import magpie_features
from matcard.errors import InputError
from matcard.files import resource_dir
from matcard.graphs.neighbors import GraphOptions

FILES = (
    "glass_train.csv.gz",
    "glass_validation.csv.gz",
    "mp_small_4000.parquet",
    "mp_icsd20.parquet",
    "mnist.npz",
    "cifar10_lt100_jpeg.npz",
)
SHIPPED = sorted(path.stem for path in (resource_dir("configs") / "compare").glob("*.yaml") if path.stem != "losses")


@pytest.mark.parametrize("name", [name for name in SHIPPED if "-" in name and name != "crystals-unseen"])
def test_shipped_experiments_fit_together(name, tmp_path, monkeypatch):
    for file in FILES:
        (tmp_path / file).touch()
    monkeypatch.setenv("MATCARD_TEST_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    experiment = read_experiment(CompareOptions(config=name))
    experiment.check()
    assert experiment.reference in [method.label for method in experiment.methods]


def test_a_network_to_start_from_is_looked_for_before_any_training(tmp_path):
    task = {"needs": "one, made by a training", "model": {"init_from": "runs/pretrained"}}
    path = write_experiment(tmp_path, tasks={"pre-trained": TASK | task})
    with pytest.raises(InputError, match=r"task pre-trained: runs/pretrained does not exist. Needed: one, made by"):
        read_experiment(CompareOptions(config=str(path))).check()


@pytest.mark.parametrize("name", ["synthetic", "glass", "crystals", "images"])
def test_the_full_experiments_fit_together(name, test_data, monkeypatch):
    monkeypatch.setenv("MATCARD_TEST_DATA", str(test_data))
    experiment = read_experiment(CompareOptions(config=name))
    experiment.check()
    literature = {task.name for task in experiment.tasks if task.config["trainer"]["max_epochs"] == 200}
    assert {task.name for task in experiment.tasks if not task.trials} == literature


def test_the_full_experiments_are_read():
    full = {name: read_experiment(CompareOptions(config=name)) for name in ("glass", "crystals")}
    assert full["crystals"].seeds == 10, "headline tables have ten"
    assert len(full["crystals"].tasks) == 5
    glass = [task.config["data"] for task in full["glass"].tasks]
    assert [data["split"]["seen"] for data in glass] == ["keep", "test"]
    for experiment in full.values():
        assert {"ce", "spread_reweight", "logit_adjustment"} <= {method.label for method in experiment.methods}


def test_every_loss_of_the_catalogue_fits(tmp_path):
    path = write_experiment(tmp_path)
    experiment = read_experiment(options(path, losses=list(catalogue())))
    assert len(experiment.methods) == len(catalogue())
    experiment.check()
    bases = [experiment.base(experiment.tasks[0], method) for method in experiment.methods]
    assert len({json.dumps(base, sort_keys=True) for base in bases}) == len(bases), "no two are the same"


def test_the_command_line_overrides(tmp_path):
    path = write_experiment(tmp_path, tasks={"points": TASK, "more": TASK})
    words = ["--tasks", "more", "--losses", "ce,focal", "--seeds", "7", "--trials", "0", "--jobs", "2"]
    parsed = parse_options(["--config", str(path), *words])
    experiment = read_experiment(parsed)
    assert [task.name for task in experiment.tasks] == ["more"]
    assert [method.label for method in experiment.methods] == ["ce", "focal"]
    assert (experiment.seeds, experiment.tasks[0].trials, parsed.jobs) == (7, 0, 2)
    assert read_experiment(options(path, losses=["focal", "ce"], reference="focal")).reference == "focal"
    named = read_experiment(options(write_experiment(tmp_path, losses=None), losses=["focal", "ce"], reference="ce"))
    assert [method.label for method in named.methods] == ["focal", "ce"], "the command alone names losses"


@pytest.mark.parametrize(
    ("given", "fixed"),
    [
        ({"source": "make_classification"}, False),
        ({"source": "digits"}, False),
        ({"source": "cifar10"}, True),
        ({"source": "mnist"}, True),
        ({"source": "deepglassnet"}, True),
        ({"source": "deepglassnet", "split": {"kind": "random"}}, True),
        ({"source": "deepglassnet", "split": {"folds": 3, "fold": 0}}, False),
        ({"source": "a.csv", "split": {"kind": "matbench", "fold": 1}}, True),
        ({"source": "cifar10", "split": {"folds": 5, "fold": 0}}, False),
        ({"source": "a.csv"}, False),
        ({"source": "a.csv", "test_source": "b.csv"}, True),
        ({"source": "a.npz", "split": {"kind": "given"}}, True),
        ({"source": "a.csv", "split": {"kind": "element", "element": "Li"}}, True),
        ({}, False),
    ],
)
def test_whether_the_test_part_is_the_same_for_every_seed(tmp_path, given, fixed):
    path = write_experiment(tmp_path, tasks={"t": {"data": given}}, training={}, tune_on=None)
    experiment = read_experiment(options(path))
    (made,) = experiment.tasks
    assert has_fixed_test(made.config["data"]) is fixed
    assert experiment.tunes_on(made) == ("first-seed" if fixed else "each-seed")
    assert experiment.tunings(made) == ([range(2)] if fixed else [range(1), range(1, 2)])
    assert not experiment.leaks(made)
    shared = replace(experiment, tune_on="first-seed")
    assert shared.tunings(made) == [range(2)]
    assert shared.leaks(made) is not fixed
    assert not shared.leaks(replace(made, trials=0)), "nothing is chosen"
    assert not replace(experiment, tune_on="development").leaks(made)


def test_options_of_a_task_stand_over_those_of_all(tmp_path):
    tasks = {"own": {"trainer": {"max_epochs": 7}}, "shared": {}}
    training = {"trainer": {"max_epochs": 3, "batch_size": 9}}
    own, shared = read_experiment(options(write_experiment(tmp_path, tasks=tasks, training=training))).tasks
    assert [own.config["trainer"][name] for name in ("max_epochs", "batch_size")] == [7, 9]
    assert shared.config["trainer"]["max_epochs"] == 3


def test_full_experiments_that_choose_on_one_split_for_cost():
    leaking = {
        name: [task.name for task in experiment.tasks if experiment.leaks(task)]
        for name in SHIPPED
        if (experiment := read_experiment(CompareOptions(config=name)))
    }
    assert {name for name, tasks in leaking.items() if tasks} == {"crystals"}


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({"tune_on": "last-seed"}, {}, "small.yaml: tune_on 'last-seed': did you mean first-seed"),
        ({}, {"losses": ["ce", "focall"]}, "focall.*did you mean focal"),
        ({}, {"tasks": ["point"]}, "--tasks: 'point' is unknown.*points"),
        ({}, {"losses": ["magnitude"]}, "small.yaml, reference: 'ce': it is not among the losses"),
        ({}, {"reference": "focal"}, "--reference focal: it is not among the losses"),
        ({"losses": "ce"}, {}, "losses: expected a list of names out of losses.yaml"),
        ({"losses": []}, {}, "losses: there are none"),
        ({"losses": {"a,b": {"loss": {"name": "focal"}}}}, {}, "could not name 'a,b'"),
        ({"metrics": "macro_f1"}, {}, r"metrics: expected a list such as \[macro_f1\]"),
        ({"tasks": {"a, b": {}}}, {}, "tasks: --tasks could not name 'a, b'"),
        ({"tasks": {"points": {"loss": {"name": "focal"}}}}, {}, "task points: unknown entry 'loss'"),
        ({"training": {"loss": {"name": "focal"}}}, {}, "training: unknown entry 'loss'"),
        ({"tasks": {"points": {"seed": 3}}}, {}, "task points: unknown entry 'seed'"),
        (
            {"tasks": {"points": {"trials": "two"}}},
            {},
            "task points: trials is 'two': expected a whole number of 0 or more",
        ),
        ({"sedes": 3}, {}, "unknown entry 'sedes'.*seeds"),
        ({"tasks": None}, {}, "tasks: expected a mapping"),
        ({"tasks": {}}, {}, "tasks: there are none"),
        ({"tasks": {"points": {"config": "nowhere"}}}, {}, "task points: --config nowhere"),
        ({"tasks": {"points": {"data": {"sorce": "x"}}}}, {}, "task points: unknown option 'data.sorce'.*data.source"),
        ({"losses": ["unknown"]}, {}, "'unknown' is not in losses.yaml"),
        ({"losses": {"ce": {}}}, {}, "ce: expected a section loss or rival"),
        ({"losses": {"ce": {"rival": "boosting"}}}, {}, "ce, rival: expected a mapping, found 'boosting'"),
        ({"losses": {"ce": {"loss": {"name": "cross_entropy"}, "spcae": {}}}}, {}, "unknown entry 'spcae'.*space"),
        ({"seeds": 0}, {}, "small.yaml: seeds is 0: expected a whole number of 1 or more"),
        ({"trials": True}, {}, "trials is True: expected a whole number of 0 or more"),
        ({"losses": {"unknown": None}}, {}, "unknown: expected a mapping, found None"),
    ],
)
def test_what_is_wrong_with_an_experiment_is_said(tmp_path, changes, given, message):
    with pytest.raises(InputError, match=message):
        read_experiment(options(write_experiment(tmp_path, **changes), **given))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["macro_f2"]}, "small, metrics: .*macro_f2.*macro_f1"),
        ({"losses": {"ce": {"loss": {"name": "cros_entropy"}}}}, "small, ce on points: .*cros_entropy.*cross_entropy"),
        ({"trial": {"trainer": {"epochs": 2}}}, "small, ce on points: .*trainer.epochs"),
        ({"losses": {"ce": {"loss": {"name": "cross_entropy", "gamma": 1}}}}, "loss.gamma"),
        ({"losses": {"ce": {"rival": {"name": "balanced_forrest"}}}}, "balanced_forrest.*balanced_forest"),
        (
            {"losses": {"ce": {"rival": {"name": "balanced_forest", "trees": 3}}}},
            "unknown option 'rival.trees'.*rival.n_estimators",
        ),
        ({"space": {"optimizer.rate": {"choices": [1]}}}, "optimizer.rate"),
    ],
)
def test_what_does_not_fit_is_said_before_any_training(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_experiment(options(write_experiment(tmp_path, **changes))).check()


def test_data_that_are_not_at_hand_are_named(tmp_path, monkeypatch):
    task = {"data": {"source": "${MATCARD_NOWHERE}/x.parquet", "kind": "crystals", "target": "y"}, "needs": "x of y"}
    experiment = read_experiment(options(write_experiment(tmp_path, tasks={"t": task})))
    with pytest.raises(InputError, match=r"task t.*MATCARD_NOWHERE is not set. Needed: x of y.*--tasks"):
        experiment.check()
    monkeypatch.setenv("MATCARD_NOWHERE", str(tmp_path))
    with pytest.raises(InputError, match=r"x.parquet does not exist. Needed: x of y"):
        experiment.check()
    (tmp_path / "x.parquet").touch()
    plain = {"t": {"data": {"source": str(tmp_path / "not there.csv"), "target": "y"}}}
    with pytest.raises(InputError, match=r"not there.csv does not exist"):
        read_experiment(options(write_experiment(tmp_path, tasks=plain))).check()
    resolved = experiment.tasks[0].data()
    assert resolved.source == str(tmp_path / "x.parquet")
    assert experiment.tasks[0].config["data"]["source"].startswith("${"), "a key must not depend on the machine"


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--jobs", "0"], ["--trials", "-1"], ["--losses", "ce,ce"]])
def test_options_out_of_range(words):
    with pytest.raises(InputError, match=words[0]):
        parse_options(words)


def test_help_names_every_option():
    done = subprocess.run([sys.executable, "-m", "matcard.compare", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for name in ("config", "tasks", "losses", "reference", "seeds", "trials", "jobs", "folder"):
        assert f"--{name}" in done.stdout
    assert "as a,b" in done.stdout


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    synthetic = SyntheticOptions(samples=400)
    asked = DataOptions(source="make_classification", synthetic=synthetic)
    return divide(read_labelled(asked), asked, seed=0)


def rival_config(**rival):
    return {"rival": rival, "seed": 3, "decision": {}, "data": {}}


def test_a_rival_is_scikit_learns(points):
    found = run_rival(rival_config(name="boosting", max_iter=7), points, tested=True)
    split = points.split
    plain = HistGradientBoostingClassifier(max_iter=7, max_leaf_nodes=31, random_state=3)
    x = points.samples.inputs.astype(np.float32)
    plain.fit(x[split.train], points.codes[split.train])
    predicted = plain.predict(x[split.test])
    assert found["test"]["argmax"]["accuracy"] == pytest.approx((predicted == points.codes[split.test]).mean())
    untested = run_rival(rival_config(name="balanced_forest", n_estimators=5), points, tested=False)
    assert "test" not in untested
    assert untested["val"]["argmax"]["n"] == len(split.val)


def test_the_forest_is_balanced(points):
    """Most of the rarer of two classes that overlap is found, where weights in a plain forest find little."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], [950, 50])
    inputs = rng.normal(codes[:, None] * 1.2, 1.0, (1000, 4)).astype(np.float32)
    order = rng.permutation(1000)
    split = Split(np.sort(order[:500]), np.sort(order[500:700]), np.sort(order[700:]), "random", 0)
    labels = replace(points.samples.labels, codes=codes, class_names=("common", "rare"))
    names = np.arange(1000).astype(str)
    rare = replace(points, samples=replace(points.samples, inputs=inputs, ids=names, labels=labels), split=split)
    found = run_rival(rival_config(name="balanced_forest", n_estimators=50, max_features=0.5), rare, tested=True)
    plain = RandomForestClassifier(50, max_features=0.5, class_weight="balanced_subsample", random_state=3)
    plain.fit(inputs[split.train], codes[split.train])
    tested = codes[split.test] == 1
    recall = (plain.predict(inputs[split.test])[tested] == 1).mean()
    assert found["test"]["argmax"]["minority_recall"] > max(0.6, recall + 0.2)


def test_logistic_regression_on_standardised_numbers(points):
    found = run_rival(rival_config(name="logistic", C=0.3), points, tested=True)
    split, x = points.split, points.samples.inputs.astype(np.float64)
    mean, deviation = x[split.train].mean(axis=0), x[split.train].std(axis=0)
    scaled = ((x - mean) / deviation).clip(-5, 5)
    plain = LogisticRegression(C=0.3, max_iter=1000).fit(scaled[split.train], points.codes[split.train])
    right = plain.predict(scaled[split.test]) == points.codes[split.test]
    assert found["test"]["argmax"]["accuracy"] == pytest.approx(right.mean())


def test_options_of_rivals():
    assert rival_options({"name": "boosting", "max_iter": 3}).max_iter == 3
    with pytest.raises(InputError, match=r"unknown rival .*boosting"):
        rival_options({})


def test_crystals_are_described_by_matminers_features(tmp_path):
    asked = DataOptions(graph=GraphOptions(radius=3.0, neighbors=2))
    labelled = read_labelled(asked)
    kept = labelled.take(np.arange(0, len(labelled), 60))
    data = divide(kept, asked, seed=0)
    formulas = [str(formula) for formula in kept.columns["formula"]]
    np.testing.assert_allclose(
        features_of(data, BoostingOptions()), magpie_features(formulas).to_numpy(), rtol=1e-6, atol=1e-6
    )


def test_crystals_with_descriptors_are_described_by_them():
    asked = DataOptions(descriptors="volume,magpie")
    labelled = read_labelled(asked)
    data = divide(labelled.take(np.arange(0, len(labelled), 60)), asked, seed=0, graphs=False)
    found = features_of(data, BoostingOptions())
    assert found.shape == (len(data.samples.ids), 133)
    magpie = features_of(data, BoostingOptions(descriptors="magpie"))
    np.testing.assert_array_equal(found[:, 1:], magpie)


@pytest.fixture(scope="module")
def by_number(tmp_path_factory):
    """600 rows of four numbers, and a strength that follows from them; 15 % are strong."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 4))
    frame = pd.DataFrame(x, columns=list("abcd"))
    frame["strength"] = 2 * x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(0, 0.3, 600)
    path = tmp_path_factory.mktemp("numbers") / "rows.csv"
    frame.to_csv(path, index=False)
    threshold = float(frame["strength"].quantile(0.85))
    asked = DataOptions(source=str(path), target="strength", features=("a", "b", "c", "d"), threshold=threshold)
    return divide(read_labelled(asked), asked, seed=0)


def test_boosting_by_the_number_behind_the_class(by_number):
    found = run_rival(rival_config(name="boosting", by="number", max_iter=30), by_number, tested=True)
    split, x = by_number.split, by_number.samples.inputs.astype(np.float32)
    plain = HistGradientBoostingRegressor(max_iter=30, random_state=3)
    predicted = plain.fit(x[split.train], by_number.values.numbers[split.train, 0]).predict(x[split.test])
    rare = by_number.codes[split.test] == 1
    precision = average_precision_score(rare, predicted)
    assert found["test"]["argmax"]["average_precision"] == pytest.approx(precision)
    # Its probabilities are of use, too: what is fitted on validation says where the threshold lies.
    assert found["test"]["argmax"]["accuracy"] > max(0.9, 1 - rare.mean())


def test_boosting_by_the_mean_of_both_ranks(by_number):
    found = run_rival(rival_config(name="boosting", by="ranks", max_iter=30), by_number, tested=True)
    split, x = by_number.split, by_number.samples.inputs.astype(np.float32)
    number = HistGradientBoostingRegressor(max_iter=30, random_state=3)
    kind = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=31, random_state=3)
    of_number = number.fit(x[split.train], by_number.values.numbers[split.train, 0]).predict(x[split.test])
    of_class = kind.fit(x[split.train], by_number.codes[split.train]).predict_proba(x[split.test])[:, 1]
    rare = by_number.codes[split.test] == 1
    precision = average_precision_score(rare, rankdata(of_number) + rankdata(of_class))
    assert found["test"]["argmax"]["average_precision"] == pytest.approx(precision)
    assert found["test"]["argmax"]["accuracy"] > max(0.9, 1 - rare.mean())


def test_a_number_is_asked_for_where_there_is_none(points):
    with pytest.raises(InputError, match=r"rival\.by number: the classes of .* are not made of a number"):
        run_rival(rival_config(name="boosting", by="number"), points, tested=False)
    with pytest.raises(
        InputError, match=r"option by of rival 'boosting' is 'value': expected one of class, number, ranks"
    ):
        rival_options({"name": "boosting", "by": "value"})


@given(st.integers(1, 30), st.integers(2, 4), st.integers(0, 2**31))
def test_ranks_of_one_source_change_nothing_of_its_order(n, classes, seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(classes), n)
    found = by_mean_rank([probabilities, probabilities])
    np.testing.assert_allclose(found, probabilities)


def test_rivals_begin_with_their_defaults_and_have_no_other_section(tmp_path):
    section = {"name": "boosting", "class_weight": "balanced"}
    space = {"rival.learning_rate": {"type": "float", "low": 0.03, "high": 0.3, "log": True}}
    losses = {"ce": {"loss": {"name": "cross_entropy"}}, "trees": {"rival": section, "space": space}}
    experiment = read_experiment(options(write_experiment(tmp_path, losses=losses, trials=2)))
    experiment.check()
    trees = experiment.methods[1]
    base = experiment.trial_base(experiment.tasks[0], trees)
    search = Search(experiment.space_of(experiment.tasks[0], trees), base, larger=True, seed=0)
    assert search.config([])["rival"] == {"name": "boosting", **asdict(BoostingOptions(class_weight="balanced"))}
    assert search.config([0.5])["rival"]["learning_rate"] != BoostingOptions.learning_rate

    losses["trees"]["trainer"] = {"max_epochs": 3}
    with pytest.raises(InputError, match="trees: a rival has no section 'trainer'"):
        read_experiment(options(write_experiment(tmp_path, losses=losses))).check()
    losses["trees"] = {"rival": section, "space": {"rival.learning_rte": space["rival.learning_rate"]}}
    with pytest.raises(InputError, match=r"trees, space: unknown option 'rival.learning_rte'.*rival.learning_rate"):
        read_experiment(options(write_experiment(tmp_path, losses=losses, trials=2))).check()
