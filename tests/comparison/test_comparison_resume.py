"""What a comparison goes on with, and what it does not: failures, changed files, weights to start from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from comparison_cases import TASK, options, results, run, write_experiment

from matcard.comparison import cells
from matcard.comparison.experiment import read_experiment
from matcard.comparison.plan import Plan
from matcard.comparison.tables import captions
from matcard.errors import InputError, TrainingError
from matcard.work.attempt import NoValueError

pytestmark = pytest.mark.usefixtures("without_report")


def failing_once(monkeypatch, error, *, of):
    """Let one training fail, the one whose number is given."""
    inner, calls = cells.run_network, []

    def run_network(config, data, **how):
        calls.append(config)
        if len(calls) == of + 1:
            raise error
        return inner(config, data, **how)

    monkeypatch.setattr(cells, "run_network", run_network)
    return calls


def test_a_trial_that_others_follow_is_not_made_again(tmp_path, trained, monkeypatch):
    """Its outcome would change what was chosen after it, and the seeds would be tested a second time."""
    opts = options(write_experiment(tmp_path, losses=["ce"], trials=4))
    calls = failing_once(monkeypatch, OSError("the disk was full"), of=1)
    folder, printed = run(opts)
    assert "1 cell failed; the same command runs 0 of them again; any other if its file in " in printed
    before = results(folder)
    assert before["status"].value_counts().to_dict() == {"finished": 5, "failed": 1}
    run(opts)
    assert len(calls) == 6
    pd.testing.assert_frame_equal(results(folder), before)


def test_a_test_that_failed_for_another_reason_than_its_loss_is_made_again(tmp_path, trained, monkeypatch):
    opts = options(write_experiment(tmp_path, losses=["ce"], trials=0))
    failing_once(monkeypatch, OSError("the disk was full"), of=1)
    folder, printed = run(opts)
    assert "1 cell failed; the same command runs them again" in printed
    _, printed = run(opts)
    assert "1 of 2 cells are there already" in printed, "not the one that failed"
    assert results(folder)["status"].tolist() == ["finished", "finished"]


def test_trials_that_failed_all_are_made_again(tmp_path, trained, monkeypatch):
    """What followed them has failed as well, so nothing is chosen yet."""
    inner = cells.run_network

    def failing(*_, **__):
        raise NoValueError("out of memory")

    monkeypatch.setattr(cells, "run_network", failing)
    opts = options(write_experiment(tmp_path, losses=["ce"], trials=4))
    with pytest.raises(TrainingError, match="came to an end"):
        run(opts)
    monkeypatch.setattr(cells, "run_network", inner)
    folder, _ = run(opts)
    assert len(trained) == 6
    assert set(results(folder)["status"]) == {"finished"}


def test_a_loss_that_diverged_is_not_trained_again(tmp_path, trained, monkeypatch):
    opts = options(write_experiment(tmp_path, losses=["ce"], trials=0))
    calls = failing_once(monkeypatch, TrainingError("the loss is not finite"), of=0)
    folder, _ = run(opts)
    run(opts)
    assert len(calls) == 2
    assert results(folder)["status"].tolist() == ["failed", "finished"]


def test_what_is_of_use_follows_from_the_records(tmp_path):
    """A trial that others were chosen after would change their choice; a test is made again whatever came after it."""
    plan = Plan(read_experiment(options(write_experiment(tmp_path, losses=["ce"], trials=3))))
    finished, failed = {"status": "finished", "run": {"val": {"argmax": {"macro_f1": 0.5}}}}, {"status": "failed"}
    for outcomes, expected in (
        ([finished, failed], [1]),
        ([finished, failed, finished], []),
        ([finished, failed, failed], [1, 2]),
        ([failed, failed, failed], [0, 1, 2]),
        ([failed, finished, finished, failed, finished], [3]),
        ([finished, finished, finished, finished, {**failed, "diverged": True}], []),
    ):
        records = {}
        for outcome in outcomes:
            cell = next(row.cell for row in plan.rows(records) if row.record is None)
            records[cell.key] = outcome
        assert plan.to_be_made_again(records) == {list(records)[k] for k in expected}


def table_of_points(path, seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    table.assign(y=(table["a"] > 0.8).astype(int)).to_csv(path, index=False)


def test_a_file_that_changed_since_is_refused(tmp_path, trained):
    source = tmp_path / "points.csv"
    table_of_points(source, 0)
    task = {"data": {"source": str(source), "kind": "table", "target": "y"}, "model": {"name": "mlp"}}
    path = write_experiment(tmp_path, tasks={"own/points": task}, losses=["ce"], trials=0)
    folder, _ = run(options(path))
    content = source.read_bytes()
    source.write_bytes(content)
    run(options(path, seeds=3))
    assert len(trained) == 3, "another time of writing is no other content"
    table_of_points(source, 1)
    with pytest.raises(InputError, match=r"task own/points: .*points.csv, began with other data .* another --folder"):
        run(options(path))
    run(options(path, folder=str(tmp_path / "another")))
    source.write_bytes(content)
    run(options(path))
    assert len(trained) == 5
    assert len(list((folder / "cells").iterdir())) == 3


def test_a_file_that_is_no_record_is_trained_anew(tmp_path, trained):
    opts = options(write_experiment(tmp_path, losses=["ce"], trials=0))
    folder, _ = run(opts)
    for file, content in zip(sorted((folder / "cells").iterdir()), ("[1, 2]", ""), strict=True):
        file.write_text(content)
    run(opts)
    assert len(trained) == 4


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "afile").write_text("")
    path = write_experiment(tmp_path)
    for folder in (tmp_path / "afile", tmp_path / "afile" / "below"):
        with pytest.raises(InputError, match=r"--folder .*afile.* cannot be made .*: name another"):
            run(options(path, folder=str(folder)))


def test_weights_to_start_from_count_by_content_and_travel(tmp_path, trained):
    start = tmp_path / "start.pt"
    torch.save({"w": torch.zeros(2)}, start)
    task = {**TASK, "model": {"init_from": str(start)}}
    path = write_experiment(tmp_path, tasks={"points": task}, losses=["ce"], trials=0, seeds=1)
    folder, _ = run(options(path))
    run(options(path))
    elsewhere = tmp_path / "elsewhere.pt"
    elsewhere.write_bytes(start.read_bytes())
    moved = {**TASK, "model": {"init_from": str(elsewhere)}}
    run(options(write_experiment(tmp_path, tasks={"points": moved}, losses=["ce"], trials=0, seeds=1)))
    assert len(trained) == 1, "neither time nor place counts"
    write_experiment(tmp_path, tasks={"points": task}, losses=["ce"], trials=0, seeds=1)
    torch.save({"w": torch.ones(2)}, start)
    run(options(path))
    assert len(trained) == 2
    assert len(list((folder / "cells").iterdir())) == 2


def test_a_task_may_have_trials_of_its_own(tmp_path, trained):
    tasks = {"points": TASK, "as it is": {**TASK, "trials": 0}}
    path = write_experiment(tmp_path, tasks=tasks, losses=["ce"], trials=2, seeds=1)
    experiment = read_experiment(options(path))
    (said, *_) = captions(experiment)
    assert "points: 2 trials each" in said
    assert "as it is: options as given, not tuned" in said
    folder, _ = run(options(path))
    assert results(folder).groupby("task").size().to_dict() == {"points": 3, "as it is": 1}
    everywhere = read_experiment(options(path, trials=1))
    assert [task.trials for task in everywhere.tasks] == [1, 1]
    with pytest.raises(InputError, match="trials is -1: expected a whole number of 0 or more"):
        read_experiment(options(write_experiment(tmp_path, tasks={"points": {**TASK, "trials": -1}})))


def test_a_method_may_decide_in_its_own_way(tmp_path, trained):
    """Post-hoc logit adjustment is cross-entropy with another rule from probabilities to classes."""
    path = write_experiment(tmp_path, losses=["ce", "post_hoc_logit_adjustment"], trials=0, seeds=1)
    run(options(path))
    rules = [config["decision"]["rule"] for config in trained]
    assert rules == ["best_score", "prior"]
    assert trained[0]["loss"] == trained[1]["loss"]
