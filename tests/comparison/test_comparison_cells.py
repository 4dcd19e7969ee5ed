"""Keys and files of cells, leases, and the search."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from comparison_cases import options, write_experiment

from matcard.comparison.cells import Cell, CellStore
from matcard.comparison.experiment_file import read_experiment
from matcard.comparison.lease import Leases
from matcard.comparison.search import Search
from matcard.work.life import Heartbeat


def cell(config, **changes):
    about = {"task": "points", "method": "ce", "kind": "network", "stage": "test", "number": 0, **changes}
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
    assert CONFIG["name"] == "a", "not changed by making a key"


def test_the_protocol_is_part_of_the_key(monkeypatch):
    before = cell(CONFIG).key
    monkeypatch.setattr("matcard.comparison.cells.PROTOCOL", 999)
    assert cell(CONFIG).key != before


def test_files_of_cells(tmp_path):
    store, one = CellStore(tmp_path), cell(CONFIG)
    assert store.read(one) is None
    store.path(one).write_text('{"key": "torn')
    assert store.read(one) is None
    store.path(one).write_text(json.dumps({"key": "another", "status": "finished"}))
    assert store.read(one) is None
    store.write(one, {"status": "failed", "reason": "for a test", "attempt": "1"})
    record = store.read(one)
    assert record["reason"] == "for a test"
    assert record["config"] == CONFIG
    assert not store.to_be_retried(record)
    again = CellStore(tmp_path, store.failed_attempts())
    assert again.to_be_retried(record)
    again.write(one, {"status": "failed", "reason": "again", "attempt": "2"})
    assert not again.to_be_retried(again.read(one)), "once a call"
    again.write(one, {"status": "finished", "runs": []})
    assert again.read(one)["status"] == "finished"
    assert again.failed_attempts() == frozenset()


def test_a_slower_worker_that_fails_leaves_what_another_has_finished(tmp_path):
    one, finished = cell(CONFIG), {"status": "finished", "runs": [1]}
    slow = CellStore(tmp_path)
    assert slow.read(one) is None
    CellStore(tmp_path).write(one, finished)
    slow.write(one, {"status": "failed", "reason": "its folder was removed", "attempt": "1"})
    assert CellStore(tmp_path).read(one)["runs"] == [1]
    slow.write(one, {**finished, "runs": [2]})
    assert CellStore(tmp_path).read(one)["runs"] == [2]


def test_a_lease_is_one_workers(tmp_path):
    first, second = Leases(tmp_path), Leases(tmp_path)
    with first.held("a") as ours, second.held("a") as theirs, second.held("b") as other:
        assert (ours, theirs, other) == (True, False, True)
    with second.held("a") as theirs:
        assert theirs
    assert not list(tmp_path.glob("*.lease"))


def test_a_lease_of_a_dead_process_is_free(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from matcard.comparison.lease import Leases\n"
        "with Leases(Path(sys.argv[1])).held('a') as ours:\n    assert ours; os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == 9
    assert (tmp_path / "a.lease").is_file()
    with Leases(tmp_path).held("a") as ours:
        assert ours


def test_a_lease_of_another_machine_dies_when_its_mark_stands_still(tmp_path, monkeypatch):
    holder = {"token": "t", "beat": 3, "worker": {"host": "h", "machine": "another", "pid": 1, "started": 1}}
    (tmp_path / "a.lease").write_text(json.dumps(holder))
    now = [100.0]
    monkeypatch.setattr("matcard.comparison.lease.time.monotonic", lambda: now[0])
    leases = Leases(tmp_path, Heartbeat(1, 10))
    with leases.held("a") as ours:
        assert not ours
    now[0] += 9
    (tmp_path / "a.lease").write_text(json.dumps({**holder, "beat": 4}))
    with leases.held("a") as ours:
        assert not ours, "it has moved"
    now[0] += 11
    with leases.held("a") as ours:
        assert ours


def test_a_damaged_lease_is_waited_for_and_broken(tmp_path, monkeypatch):
    (tmp_path / "a.lease").write_text("{")
    now = [0.0]
    monkeypatch.setattr("matcard.comparison.lease.time.monotonic", lambda: now[0])
    leases = Leases(tmp_path, Heartbeat(1, 10))
    with leases.held("a") as ours:
        assert not ours
    now[0] = 11.0
    with leases.held("a") as ours:
        assert ours


@pytest.fixture
def search(tmp_path):
    experiment = read_experiment(options(write_experiment(tmp_path, trials=6)))
    task, method = experiment.tasks[0], experiment.methods[1]

    def make():
        return Search(
            experiment.space_of(task, method),
            experiment.trial_base(task, method),
            trials=6,
            larger=True,
            seed=0,
            rival=False,
        )

    return make


def run_through(search, value_of):
    configs = []
    while (config := search.config) is not None:
        assert search.number == len(configs)
        configs.append(config)
        search.tell(value_of(config))
    return configs


def rate(config):
    return config["optimizer"]["lr"]


def test_a_search_has_its_trials_and_repeats_itself(search):
    first = search()
    configs = run_through(first, rate)
    assert len(configs) == 6
    assert configs[0]["optimizer"]["lr"] == 0.01, "the first is as it is"
    assert run_through(search(), rate) == configs
    assert first.best()["optimizer.lr"] == max(map(rate, configs))
    other = run_through(search(), lambda config: -rate(config))
    assert other[:3] == configs[:3], "drawn at random"
    assert other != configs, "later ones learn from those before"


def test_a_search_with_failures(search):
    one = search()
    configs = run_through(one, lambda config: None if rate(config) > 0.02 else rate(config))
    assert len(configs) == 6, "a failed trial has used up its turn"
    assert one.best()["optimizer.lr"] == max(r for r in map(rate, configs) if r <= 0.02)
    none = search()
    run_through(none, lambda config: float("nan"))
    assert none.best() is None


def test_the_best_is_laid_over_the_full_training(search):
    one = search()
    run_through(one, rate)
    full = {**one._base, "trainer": {**one._base["trainer"], "max_epochs": 77}}
    applied = one.applied(one.best(), full)
    assert applied["trainer"]["max_epochs"] == 77
    assert rate(applied) == one.best()["optimizer.lr"]
    assert applied["loss"]["scale"] == one.best()["loss.scale"]
