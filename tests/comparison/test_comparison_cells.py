"""Keys and files of cells, and the search."""

from __future__ import annotations

import json

import pytest
from comparison_cases import options, write_experiment

from matcard.comparison.cells import Cell, CellStore
from matcard.comparison.experiment import read_experiment, resolved
from matcard.comparison.plan import Search


def cell(config, **changes):
    about = {"task": "points", "method": "ce", "stage": "test", "number": 0, **changes}
    return Cell(config=config, **about)


CONFIG = {"name": "a", "run_dir": None, "data": {"source": "x", "jobs": 2}, "trainer": {"workers": 0}, "seed": 1}


def test_a_key_is_of_what_decides_the_outcome():
    key = cell(CONFIG).key
    assert len(key) == 64
    same = {**CONFIG, "name": "b", "run_dir": "c", "data": {"jobs": 8, "source": "x"}, "trainer": {"workers": 3}}
    assert cell(same, task="another name", method="another label").key == key
    for other in ({**CONFIG, "seed": 2}, {**CONFIG, "data": {"source": "y", "jobs": 2}}):
        assert cell(other).key != key
    assert cell(CONFIG, stage="trial").key != key
    assert cell(CONFIG, development=True).key != key
    assert CONFIG["name"] == "a", "not changed by making a key"


def test_the_protocol_is_part_of_the_key(monkeypatch):
    before = cell(CONFIG).key
    monkeypatch.setattr("matcard.comparison.cells.PROTOCOL", 999)
    assert cell(CONFIG).key != before


def test_files_of_cells(tmp_path):
    one, other = cell(CONFIG), cell({**CONFIG, "seed": 2})
    store = CellStore(tmp_path)
    assert store.records == {}
    (tmp_path / f"{one.key}.json").write_text('{"key": "torn')
    (tmp_path / f"{other.key}.json").write_text(json.dumps({"key": one.key, "status": "finished"}))
    assert CellStore(tmp_path).records == {}, "half a record, and that of another cell"
    store.write(one, {"status": "failed", "reason": "for a test", "attempt": "1", "value": float("nan")})
    assert CellStore(tmp_path).records[one.key] == store.records[one.key], "as it is read"
    record = store.records[one.key]
    assert (record["reason"], record["config"], record["value"]) == ("for a test", CONFIG, None)
    store.write(one, {"status": "finished"})
    assert CellStore(tmp_path).records[one.key]["status"] == "finished"


@pytest.fixture
def search(tmp_path):
    experiment = read_experiment(options(write_experiment(tmp_path, trials=6)))
    task, method = experiment.tasks[0], experiment.methods[1]

    def make():
        return Search(
            experiment.space_of(task, method),
            experiment.trial_base(task, method),
            larger=True,
            seed=0,
        )

    return make


def run_through(search, value_of, trials=6):
    """Make trials one after the other; gives their configurations and outcomes."""
    configs, values = [], []
    for _ in range(trials):
        configs.append(search.config(values))
        values.append(value_of(configs[-1]))
    return configs, values


def rate(config):
    return config["optimizer"]["lr"]


def test_a_search_has_its_trials_and_repeats_itself(search):
    first = search()
    configs, values = run_through(first, rate)
    assert configs[0]["optimizer"]["lr"] == 0.01, "the first is as it is"
    assert run_through(search(), rate)[0] == configs
    assert first.best(values)["optimizer.lr"] == max(map(rate, configs))
    other, _ = run_through(search(), lambda config: -rate(config))
    assert other[:3] == configs[:3], "drawn at random"
    assert other != configs, "later ones learn from those before"


def test_asking_a_search_changes_nothing(search):
    """Whatever was asked before, of other outcomes among them: the answer follows from the outcomes."""
    one = search()
    configs, values = run_through(one, rate)
    for k in (2, 5, 0, 3, 3):
        assert one.config(values[:k]) == configs[k]
        assert one.best([-value for value in values[:k]]) == search().best([-value for value in values[:k]])
    assert one.best(values)["optimizer.lr"] == max(map(rate, configs))


def test_more_trials_are_the_same_ones_and_others_after_them(search):
    few, _ = run_through(search(), rate, trials=4)
    many, _ = run_through(search(), rate, trials=9)
    assert many[:4] == few


def test_a_search_with_failures(search):
    one = search()
    configs, values = run_through(one, lambda config: None if rate(config) > 0.02 else rate(config))
    assert one.best(values)["optimizer.lr"] == max(r for r in map(rate, configs) if r <= 0.02)
    assert one.best([None, float("nan")]) is None


def test_the_best_is_laid_over_the_full_training(search):
    one = search()
    _, values = run_through(one, rate)
    full = {**one._base, "trainer": {**one._base["trainer"], "max_epochs": 77}}
    best = one.best(values)
    applied = resolved(one.space.apply(best, full))
    assert applied["trainer"]["max_epochs"] == 77
    assert rate(applied) == best["optimizer.lr"]
    assert applied["loss"]["scale"] == best["loss.scale"]
