"""The data of comparisons: what is refused before any training, and the part that options are chosen on."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from comparison_cases import TASK, options, results, run, write_experiment
from rich.console import Console

from matcard.comparison import run as running
from matcard.comparison.cells import check_data, train_cell
from matcard.comparison.experiment import read_experiment
from matcard.comparison.plan import Plan
from matcard.data.groups import group_keys
from matcard.data.options import DataOptions, SplitOptions
from matcard.errors import InputError, MatcardWarning
from matcard.training.batches import DataModule
from matcard.work.attempt import Wire
from matcard.work.trainings import DEVELOPMENT, Division, SharedData


@pytest.mark.parametrize(
    ("task", "losses", "message"),
    [
        (
            {"config": "digits_lt"},
            ["ce", "spread_sampling"],
            "spread_sampling on t: sampler 'spread' .* images have none",
        ),
        (
            TASK,
            ["ce", "formula_sampling"],
            "formula_sampling on t: sampler 'formula' .* images have none",
        ),
    ],
)
def test_samplers_that_the_data_refuse_are_named_before_any_training(tmp_path, trained, task, losses, message):
    opts = options(write_experiment(tmp_path, tasks={"t": task}, training={}, losses=losses, trials=0))
    with pytest.raises(InputError, match=message):
        run(opts)
    assert not trained


def test_descriptors_alone_need_no_graphs(tmp_path, monkeypatch):
    """Neither where data are checked, nor for networks of fully connected layers, nor for rivals."""

    def built(*_, **__):
        raise AssertionError("graphs are built")

    monkeypatch.setattr("matcard.data.crystals.open_graphs", built)
    task = {"data": {"descriptors": "volume"}, "model": {"name": "mlp"}}
    quick = {"trainer": {"max_epochs": 1, "accelerator": "cpu"}}
    path = write_experiment(tmp_path, tasks={"t": task}, training=quick, losses=["ce", "boosting"])
    experiment = read_experiment(options(path))
    (made,) = experiment.tasks
    check_data(experiment, made, tmp_path / "data", shared := SharedData())
    for pair in Plan(experiment).pairs:
        (cell,) = pair.cells({})
        run_of_cell = train_cell(cell, made.data(), shared, tmp_path / cell.method, Wire(lambda _: None))["run"]
        assert sum(run_of_cell["sizes"].values()) == len(shared.samples(made.data()))
    write_experiment(tmp_path, tasks={"t": {**task, "model": {"name": "cgcnn"}}}, training={})
    experiment = read_experiment(options(path))
    with pytest.raises(AssertionError, match="graphs are built"):
        check_data(experiment, experiment.tasks[0], tmp_path / "data", SharedData())


def test_the_development_part_stands_in_no_test_part(tmp_path):
    task = {"data": {"descriptors": "volume"}, "model": {"name": "mlp"}}
    path = write_experiment(tmp_path, tasks={"t": task}, training={}, losses=["ce"], tune_on="development", seeds=4)
    experiment = read_experiment(options(path))
    (made,) = experiment.tasks
    assert experiment.tunings(made) == [range(4)]
    shared = SharedData()
    trials = [shared.divided(made.data(), Division(seed, "development"), graphs=False) for seed in (0, 9)]
    groups = group_keys(trials[0].samples, "formula")
    decides = trials[0].split.val
    np.testing.assert_array_equal(decides, trials[1].split.val, "the same for every seed")
    development = set(groups[decides])
    assert len(decides) == pytest.approx(DEVELOPMENT * len(groups), rel=0.05)
    for trial in trials:
        assert len(trial.split.test) == 0
        np.testing.assert_array_equal(trial.split.train, np.setdiff1d(np.arange(len(groups)), decides))
        assert development.isdisjoint(groups[trial.split.train]), "whole formulas"
    for seed in range(4):
        split = shared.divided(made.data(), Division(seed, "rest"), graphs=False).split
        assert development.isdisjoint(groups[split.test])
        assert development.isdisjoint(groups[split.val])
        assert set(decides) <= set(split.train)
        parts = [split.train, split.val, split.test]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(groups)))
        shares = [len(part) / len(groups) for part in parts]
        assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.01)
        for first, second in ((0, 1), (0, 2), (1, 2)):
            assert set(groups[parts[first]]).isdisjoint(groups[parts[second]])


@pytest.mark.usefixtures("without_report")
def test_options_are_chosen_once_on_the_development_part(tmp_path):
    task = {**TASK, "data": {"source": "make_classification", "synthetic": {"samples": 2000}}}
    path = write_experiment(tmp_path, tasks={"t": task}, losses=["ce"], tune_on="development")
    table = results(run(options(path))[0])
    assert table["stage"].tolist() == ["trial", "trial", "test", "test"]
    assert set(table["status"]) == {"finished"}
    assert table["n_test"].tolist() == pytest.approx([0, 0, 300, 300], abs=5)
    assert (table["n_train"] + table["n_val"]).tolist() == pytest.approx([2000, 2000, 1700, 1700], abs=5)
    path = write_experiment(tmp_path, tasks={"t": task}, losses=["ce"], tune_on="first-seed", trials=1, seeds=1)
    other = results(run(options(path))[0])
    assert set(other["config_sha256"]).isdisjoint(table["config_sha256"])


def test_a_development_part_needs_splits_that_are_drawn(tmp_path):
    drawn, sizes = "is for splits that seeds draw anew", "is for parts by --data.split.fractions, not by"
    for split, says in (
        ({"folds": 3, "fold": 0}, sizes),
        ({"kind": "given"}, drawn),
        ({"kind": "matbench", "fold": 1}, drawn),
        ({"kind": "element", "element": "Li"}, drawn),
    ):
        task = {**TASK, "data": {**TASK["data"], "split": split}}
        experiment = read_experiment(options(write_experiment(tmp_path, tasks={"t": task}, tune_on="development")))
        with pytest.raises(InputError, match=f"task t, tune_on: development {says}"):
            experiment.check()
    task = {**TASK, "data": {**TASK["data"], "split": {"fractions": [0.2, 0.4, 0.4]}}}
    experiment = read_experiment(options(write_experiment(tmp_path, tasks={"t": task}, tune_on="development")))
    with pytest.raises(InputError, match=r"takes 20% of the samples, .* gives that 20%"):
        experiment.check()


def rows_by_column(folder, classes, groups):
    """Write a table of rows with a class and a group each; gives the options of its data."""
    rows = pd.DataFrame({"x": np.cos(np.arange(len(classes))), "y": classes, "group": groups})
    rows.to_csv(folder / "rows.csv", index=False)
    words = {"source": str(folder / "rows.csv"), "kind": "table", "target": "y"}
    return DataOptions(**words, split=SplitOptions(kind="column", column="group"))


def test_few_groups_are_told_by_what_is_divided(tmp_path):
    made = rows_by_column(tmp_path, ["a", "b"] * 30, np.repeat(["p", "q", "r"], 20))
    with pytest.raises(InputError, match=r"tune_on: development: without the fifth .* by: 2 groups cannot be divided"):
        SharedData().divided(made, Division(0, "rest"))
    with pytest.warns(MatcardWarning, match="options are chosen by 20 of 60 samples, not by a fifth"):
        SharedData().divided(made, Division(0, "development"))


def test_classes_that_a_part_lacks_are_those_of_the_parts_that_are_used(tmp_path, recwarn):
    classes = [*"ab" * 20, *"cccc"]
    made = rows_by_column(tmp_path, classes, [*range(40), *[40] * 4])
    found = SharedData().divided(made, Division(0, "development")).split
    told = [str(warning.message) for warning in recwarn]
    lacking = "train" if 43 in found.val else "val"
    assert [f"the {lacking} part has no sample of class c" in text for text in told] == [True]
    recwarn.clear()
    found = SharedData().divided(made, Division(0, "rest")).split
    told = " ".join(str(warning.message) for warning in recwarn)
    for part in ("train", "val", "test"):
        assert (f"the {part} part has no sample of class c" in told) == (43 not in getattr(found, part))


def test_a_method_may_be_for_some_tasks_alone(tmp_path, trained):
    own = {"ce": None, "focal": {"loss": {"name": "focal"}, "tasks": ["one"]}}
    path = write_experiment(tmp_path, tasks={"one": TASK, "two": TASK}, losses=own, trials=0, seeds=1)
    folder, _ = run(options(path))
    assert sorted(results(folder)[["task", "method"]].itertuples(index=False, name=None)) == [
        ("one", "ce"),
        ("one", "focal"),
        ("two", "ce"),
    ]
    own["focal"]["tasks"] = ["three"]
    with pytest.raises(InputError, match=r"focal, tasks: expected a list of names out of one, two, found \['three'\]"):
        read_experiment(options(write_experiment(tmp_path, tasks={"one": TASK, "two": TASK}, losses=own)))


def test_an_estimate_of_the_time(tmp_path, monkeypatch):
    """A fit takes half a second and a tenth of one for each epoch or tree, as two short ones of a kind tell."""
    losses = {"ce": None, "focal": None, "trees": {"rival": {"name": "boosting", "max_iter": 50}}, "logistic": None}
    path = write_experiment(tmp_path, tasks={"t": TASK}, training={}, losses=losses, trials=2, seeds=9)
    experiment = read_experiment(options(path))
    lengths = []

    def seconds(pair, config, data):
        lengths.append(config["rival"].get("max_iter") if "rival" in config else config["trainer"]["max_epochs"])
        return 7.0 if config.get("rival", {}).get("name") == "logistic" else 0.5 + 0.1 * lengths[-1]

    monkeypatch.setattr(running, "_seconds", seconds)

    def told(made, records):
        console = Console(file=io.StringIO(), width=200)
        running.tell_estimate(Plan(made), records, 2, SharedData(), console)
        return console.file.getvalue().strip()

    slow = 2 * 11 * (0.5 + 0.1 * 20) + 9 * (0.5 + 0.1 * 50) + 11 * 7.0
    assert slow / 2 == pytest.approx(90.75)
    assert told(experiment, {}) == "42 cells are left: about 0:01:31 (h:mm:ss) with 2 at a time"
    assert sorted(lengths) == sorted([1, 1, 2, 1000, 1, 1, 3]), "networks are alike"
    first = Plan(experiment).pairs[0].cells({})[0]
    record = {"status": "finished", "run": {"val": {"argmax": {"macro_f1": 0.5}}}}
    assert told(experiment, {first.key: record}).startswith("41 cells are left")
    assert told(replace(experiment, seeds=1), {}) == "", "few show by themselves how long they take"


def test_a_short_training_tells_the_time_and_looks_at_no_test_part(tmp_path, monkeypatch):
    path = write_experiment(tmp_path, tasks={"t": TASK}, losses=["ce"], trials=0, seeds=20, tune_on="development")
    experiment = read_experiment(options(path))
    (pair,) = Plan(experiment).pairs
    looked = []
    loader = DataModule.eval_dataloader
    monkeypatch.setattr(
        DataModule, "eval_dataloader", lambda self, part, *rank: looked.append(part) or loader(self, part, *rank)
    )
    assert running._probed(pair, SharedData()) > 0
    assert set(looked) == {"val"}
