"""Comparisons whose workers or coordinators are killed, and what of them is done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from clusters import running_cluster, wait_for, workers_of
from comparison_cases import options, results, run, write_experiment

from matcard.comparison import cells
from matcard.comparison.cells import CellStore
from matcard.comparison.experiment import read_experiment
from matcard.comparison.plan import Plan
from matcard.errors import InputError
from matcard.work.attempt import RECORD
from matcard.work.folder import held

pytestmark = pytest.mark.usefixtures("without_report")


def test_a_second_command_in_a_folder_is_refused_and_changes_nothing(tmp_path, trained):
    """Two that choose trials would disagree where one of them makes a failed trial again."""
    opts = options(write_experiment(tmp_path, losses=["ce"]))
    with held(tmp_path / "comparison", "--folder"), pytest.raises(InputError, match=r"--folder .* is at work already"):
        run(opts)
    assert not trained
    run(opts)


def test_a_plan_follows_from_the_records_alone(tmp_path, trained, monkeypatch):
    """Whichever coordinator asks, and however often: after a trial out of memory, too."""
    inner, calls = cells.run_network, []

    def small(config, data, **how):
        calls.append(config)
        if len(calls) == 2:
            raise MemoryError
        return inner(config, data, **how)

    monkeypatch.setattr(cells, "run_network", small)
    opts = options(write_experiment(tmp_path, losses=["ce"], trials=4))
    folder, _ = run(opts)
    experiment = read_experiment(opts)
    records = CellStore(folder / "cells").records
    asked, fresh = Plan(experiment), Plan(experiment)
    first = next(iter(records))
    for known in ({}, {first: records[first]}, records, {}):
        asked.rows(known)
    rows = fresh.rows(records)
    assert [row.cell for row in asked.rows(records)] == [row.cell for row in rows]
    assert {row.cell.key for row in rows} == set(records), "what was tested is in the table"
    assert Counter(row.status for row in rows) == {"finished": 5, "failed": 1}


def test_a_cell_that_might_fail_again_comes_last(tmp_path, trained, monkeypatch):
    inner, order = cells.run_network, []

    def failing(config, data, **how):
        order.append((config["loss"]["name"], config["seed"]))
        if order[-1] == ("cross_entropy", 0):
            raise OSError("killed for want of memory")
        return inner(config, data, **how)

    monkeypatch.setattr(cells, "run_network", failing)
    run(options(write_experiment(tmp_path, losses=["ce"], trials=0)))
    run(options(write_experiment(tmp_path, trials=0)))
    assert order[2:] == [("error", 0), ("error", 1), ("cross_entropy", 0)]


def test_a_cell_that_failed_is_made_again_though_its_coordinator_was_killed_right_after_the_record(
    tmp_path, trained, monkeypatch
):
    opts = options(write_experiment(tmp_path, losses=["ce"], trials=0))
    folder, _ = run(opts)
    record = next(file for file in (folder / "cells").iterdir())
    failed = {**json.loads(record.read_text()), "status": "failed", "reason": "the disk was full"}
    left = folder / "running" / failed["key"] / "1"
    left.mkdir(parents=True)
    for path in (record, left / RECORD):
        path.write_text(json.dumps(failed))
    _, printed = run(opts)
    assert "1 of 2 cells are there already" in printed
    assert len(trained) == 3
    assert json.loads(record.read_text())["status"] == "finished"


def test_what_a_worker_finished_of_a_cell_that_is_made_again_is_taken(tmp_path, trained):
    opts = options(write_experiment(tmp_path, losses=["ce"], trials=0))
    folder, _ = run(opts)
    record = next(file for file in (folder / "cells").iterdir())
    found = json.loads(record.read_text())
    left = folder / "running" / found["key"] / "2"
    left.mkdir(parents=True)
    (left / RECORD).write_text(json.dumps(found))
    record.write_text(json.dumps({**found, "status": "failed", "reason": "killed"}))
    run(opts)
    assert len(trained) == 2
    assert json.loads(record.read_text())["attempt"] == found["attempt"]


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
def test_workers_and_coordinators_of_a_real_comparison_are_killed(tmp_path):
    training = {"trainer": {"max_epochs": 60, "patience": 0, "accelerator": "cpu"}}
    path = write_experiment(tmp_path, trials=0, training=training)
    argv = ["-m", "matcard.compare", f"--config={path}", "--folder=comparison", "--scheduler=scheduler.json"]
    environment = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))}

    def start():
        return subprocess.Popen([sys.executable, *argv], env=environment, cwd=tmp_path)

    def at_work():
        return list((tmp_path / "comparison/running").glob("*/*/metrics.csv"))

    with running_cluster(tmp_path, workers=2):
        first = start()
        wait_for(at_work, 120)
        first.kill()
        first.wait()
        second = start()
        wait_for(lambda: list((tmp_path / "comparison/cells").glob("*.json")), 120)
        os.kill(next(workers_of(tmp_path)), signal.SIGKILL)
        assert second.wait(240) == 0
    records = [json.loads(file.read_text()) for file in (tmp_path / "comparison/cells").glob("*.json")]
    assert [record["status"] for record in records] == ["finished"] * 4
    (folder, printed) = run(options(path))
    assert "4 of 4 cells are there already" in printed
    assert set(results(folder)["status"]) == {"finished"}
