"""Whole comparisons: kept, gone on with, failed, shared among processes, tested once."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter

import pandas as pd
import pytest
from comparison_cases import TASK, options, results, run, write_experiment

from matcard.cli import make_console
from matcard.comparison import cells
from matcard.comparison import run as running
from matcard.comparison.cells import CellStore
from matcard.comparison.run import compare
from matcard.errors import InputError, TrainingError
from matcard.training.batches import DataModule


def test_every_cell_once_and_everything_written(tmp_path, trained):
    opts = options(write_experiment(tmp_path))
    folder, printed = run(opts)
    assert len(trained) == 8, "two losses, two trials and two seeds each"
    assert "8 of 8 cells" in printed
    table = results(folder)
    assert Counter(table["stage"]) == {"trial": 4, "test": 4}
    assert set(table["status"]) == {"finished"}
    tested = table[table["stage"] == "test"]
    assert tested["test_macro_f1"].notna().all()
    assert table[table["stage"] == "trial"]["test_macro_f1"].isna().all(), "trials see no test part"
    assert (tested["test_macro_f1_at_decision"] - tested["test_macro_f1"]).round(9).eq(0.01).all()
    assert json.loads(tested["config"].iloc[0])["seed"] == 0
    assert tested["config_sha256"].str.len().eq(64).all()
    assert tested["test_precision_at_100"].equals(tested["test_macro_f1"])
    assert (tested["test_medium_shot_recall_at_decision"] * 2).equals(tested["test_macro_f1_at_decision"])
    assert tested["test_few_shot_recall"].isna().all()
    for name in ("table.md", "table.tex", "report.html", "figures/intervals.svg", "figures/intervals.csv"):
        assert (folder / name).stat().st_size > 0, name
    assert "    python -m matcard.compare\n" in (folder / "table.md").read_text()
    # The better of the two trials is what is tested: the larger learning rate, as the numbers go.
    ce = [json.loads(text) for text in table[table["method"] == "ce"]["config"]]
    rates = [config["optimizer"]["lr"] for config in ce]
    assert rates[2] == rates[3] == max(rates[:2])
    assert [config["seed"] for config in ce] == [0, 0, 0, 1]
    page = (folder / "report.html").read_text()
    assert f"<code>optimizer.lr</code> {rates[3]:.3g}</td>" in page, "one value, since it is the same for all seeds"

    run(opts)
    assert len(trained) == 8, "nothing twice"
    run(options(write_experiment(tmp_path), seeds=3))
    assert len(trained) == 10, "a seed more of each"
    run(options(write_experiment(tmp_path, training={"trainer": {"max_epochs": 2, "accelerator": "cpu"}})))
    assert len(trained) == 18, "a changed configuration is new cells"


@pytest.mark.usefixtures("without_report")
def test_options_are_chosen_for_each_seed_on_its_own_split(tmp_path, trained):
    path = write_experiment(tmp_path, losses=["ce"], trials=3, tune_on="each-seed")
    folder, printed = run(options(path))
    assert "8 of 8 cells" in printed, "two seeds, three trials and a test each"
    assert "points, ce, seed 1, trial 2" in printed
    table = results(folder)
    rates = {}
    for seed in (0, 1):
        of_seed = table[table["seed"] == seed]
        assert Counter(of_seed["stage"]) == {"trial": 3, "test": 1}
        configs = [json.loads(text) for text in of_seed["config"]]
        assert {config["seed"] for config in configs} == {seed}
        rates[seed] = [config["optimizer"]["lr"] for config in configs]
        assert rates[seed][3] == max(rates[seed][:3]), "the best on its own split"
    assert rates[0][0] == rates[1][0], "as it is"
    assert rates[0][1:3] != rates[1][1:3], "each with draws of its own"
    assert rates[0][3] != rates[1][3]


@pytest.mark.usefixtures("without_report")
def test_another_way_of_choosing_makes_new_cells(tmp_path, trained):
    first, _ = run(options(write_experiment(tmp_path, tune_on="first-seed")))
    assert len(trained) == 8
    shared = {path.name for path in (first / "cells").iterdir()}
    folder, printed = run(options(write_experiment(tmp_path, tune_on="each-seed")))
    assert "12 of 12 cells" in printed
    assert len(trained) == 14, (
        "trials of the second seed, and its tests with what they chose; the first seed's are the same"
    )
    assert shared < {path.name for path in (folder / "cells").iterdir()}
    table = results(folder)
    assert table.groupby("method")["status"].count().tolist() == [6, 6], "as many for each loss"
    run(options(write_experiment(tmp_path, tune_on="first-seed")))
    assert len(trained) == 14, "these are there"


@pytest.mark.usefixtures("without_report")
def test_a_killed_comparison_goes_on(tmp_path, trained, monkeypatch):
    fake, opts = cells.run_network, options(write_experiment(tmp_path))

    def interrupted(config, data, **how):
        if len(trained) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return fake(config, data, **how)

    monkeypatch.setattr(cells, "run_network", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"5 cells are finished and kept in .*; the same command goes on"):
        run(opts)
    assert len(list((tmp_path / "comparison" / "cells").glob("*.json"))) == 5
    assert not list((tmp_path / "comparison" / "running").glob("*.lease"))
    monkeypatch.setattr(cells, "run_network", fake)
    folder, printed = run(opts)
    assert "5 of 8 cells are there already" in printed
    assert len(trained) == 8
    table = results(folder)
    assert table["config_sha256"].nunique() == 8, "none twice"
    assert set(table["status"]) == {"finished"}


def test_an_interrupt_while_the_time_is_estimated_says_what_goes_on(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt("--resume a folder that is gone")

    monkeypatch.setattr(running, "tell_estimate", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"0 cells are finished .*; the same command goes on with the rest"):
        run(options(write_experiment(tmp_path)))


@pytest.mark.usefixtures("without_report")
def test_a_folder_of_another_experiment_keeps_its_cells_and_says_so(tmp_path, trained):
    folder, printed = run(options(write_experiment(tmp_path, trials=0)))
    assert "none of the" not in printed
    cells = set(folder.glob("cells/*.json"))
    _, printed = run(options(write_experiment(tmp_path, trials=0, seed=50)))
    assert f"none of the {len(cells)} cells in" in printed
    assert "tables and report are written anew without them" in " ".join(printed.split())
    assert cells < set(folder.glob("cells/*.json"))


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(("monitor", "label"), [("macro_f1", "macro-F1"), ("average_precision", "average precision")])
def test_what_decides_is_shown_of_each_cell(tmp_path, trained, monitor, label):
    training = {"trainer": {"max_epochs": 1, "accelerator": "cpu", "monitor": monitor}}
    _, printed = run(options(write_experiment(tmp_path, losses=["ce"], training=training)))
    for part in ("validation", "test"):
        assert f"{part} {label} 0." in printed


def test_a_loss_that_fails_is_shown_and_tried_again(tmp_path, trained, monkeypatch):
    fake, opts = cells.run_network, options(write_experiment(tmp_path, trials=0))

    def failing(config, data, **how):
        if config["loss"]["name"] == "error" and config["seed"] == 1:
            raise OSError("the disk | is full")
        return fake(config, data, **how)

    monkeypatch.setattr(cells, "run_network", failing)
    folder, printed = run(opts)
    assert "points, magnitude, seed 1: failed: OSError: the disk | is full" in printed
    assert "1 cell failed" in printed
    table = results(folder)
    assert table.set_index(["method", "seed"])["status"].loc[("magnitude", 1)] == "failed"
    assert "(1 of 2 failed)" in (folder / "table.md").read_text()
    assert "the disk | is full" in (folder / "report.html").read_text()
    monkeypatch.setattr(cells, "run_network", fake)
    folder, _ = run(opts)
    assert len(trained) == 4, "the failed one, and no other"
    assert set(results(folder)["status"]) == {"finished"}


@pytest.mark.usefixtures("without_report")
def test_a_loss_of_which_all_trials_fail(tmp_path, trained, monkeypatch):
    fake = cells.run_network

    def failing(config, data, **how):
        if config["loss"]["name"] == "error":
            raise ZeroDivisionError("for a test")
        return fake(config, data, **how)

    monkeypatch.setattr(cells, "run_network", failing)
    folder, _ = run(options(write_experiment(tmp_path)))
    table = results(folder)
    assert Counter(table[table["method"] == "magnitude"]["status"]) == {"failed": 2}
    assert "| failed: ZeroDivisionError: for a test |" in (folder / "table.md").read_text()


@pytest.mark.usefixtures("without_report")
def test_data_that_cannot_be_divided_are_told_before_any_training(tmp_path, trained):
    tasks = {"points": TASK, "few": {**TASK, "data": {**TASK["data"], "synthetic": {"samples": 3}}}}
    with pytest.raises(InputError, match="task few: "):
        run(options(write_experiment(tmp_path, tasks=tasks, trials=0, seeds=1)))
    assert not trained


@pytest.mark.usefixtures("without_report")
def test_a_comparison_of_which_nothing_came_to_an_end_has_failed(tmp_path, monkeypatch):
    def failing(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(cells, "run_network", failing)
    with pytest.raises(TrainingError, match=r"no cell of .* came to an end"):
        run(options(write_experiment(tmp_path)))
    assert set(pd.read_parquet(tmp_path / "comparison" / "results.parquet")["status"]) == {"failed"}


@pytest.mark.usefixtures("without_report")
def test_a_real_training_looks_at_its_test_part_once_at_the_end(tmp_path, monkeypatch):
    looked = []
    loader = DataModule.eval_dataloader

    def eval_dataloader(self, part, *rank):
        looked.append(part)
        return loader(self, part, *rank)

    monkeypatch.setattr(DataModule, "eval_dataloader", eval_dataloader)
    folder, _ = run(options(write_experiment(tmp_path, losses=["ce"], trials=1, seeds=1)))
    assert looked.count("test") == 1
    assert looked[-1] == "test"
    table = results(folder)
    assert table["test_macro_f1"].notna().tolist() == [False, True]
    assert table["git_commit"].nunique() <= 1
    # Everything that a figure is made of stands in the row.
    row = table.iloc[1]
    counts, recall = json.loads(row["train_counts"]), json.loads(row["recall"])
    assert sum(counts.values()) == row["n_train"]
    assert set(counts) == set(recall["argmax"]) == set(recall["decision"])
    assert sum(one["n"] for one in recall["argmax"].values()) == row["n_test"]
    rare = [recall["argmax"][name]["value"] for name, n in counts.items() if n * len(counts) < row["n_train"]]
    assert row["test_minority_recall"] == pytest.approx(sum(rare) / len(rare))
    assert len(json.loads(row["decision"])["gain"]) in (1, len(counts))
    assert not (folder / "running").exists(), "checkpoints are removed"


@pytest.mark.usefixtures("without_report")
def test_two_processes_share_the_work(tmp_path):
    losses = {
        "trees": {"rival": {"name": "boosting", "max_iter": 5}},
        "forest": {"rival": {"name": "balanced_forest", "n_estimators": 5}},
    }
    path = write_experiment(tmp_path, losses=losses, reference="trees", trials=0, seeds=2)
    folder, printed = run(options(path, jobs=2, losses=["trees", "forest"]))
    assert "4 of 4 cells" in printed
    table = results(folder)
    assert set(table["status"]) == {"finished"}
    records = [json.loads(file.read_text()) for file in (folder / "cells").glob("*.json")]
    assert len(records) == 4
    assert len({record["key"] for record in records}) == 4
    # Alone it comes to the same numbers.
    alone, _ = run(options(path, folder=str(tmp_path / "alone"), losses=["trees", "forest"]))
    columns = ["method", "seed", "test_macro_f1", "val_macro_f1", "data_sha256"]
    pd.testing.assert_frame_equal(results(alone)[columns], table[columns])


@pytest.mark.usefixtures("without_report")
def test_tables_name_the_program_that_made_them(tmp_path, trained, monkeypatch):
    monkeypatch.setattr("sys.argv", ["study_of_mine.py", "--fast"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    folder = compare(options(write_experiment(tmp_path, losses=["ce"], trials=0, seeds=1)), console=make_console())
    assert "    study_of_mine.py --fast\n" in (folder / "table.md").read_text()
    assert len(trained) == 1


@pytest.mark.usefixtures("without_report")
def test_a_record_of_another_cell_is_not_taken(tmp_path, trained):
    folder, _ = run(options(write_experiment(tmp_path, trials=0)))
    files = sorted((folder / "cells").glob("*.json"))
    files[0].write_bytes(files[1].read_bytes())
    run(options(write_experiment(tmp_path, trials=0)))
    assert len(trained) == 5
    assert len(CellStore(folder / "cells").records) == 4


def test_a_sampler_is_a_methods_own_and_its_scale_is_searched(tmp_path):
    task = {**TASK, "data": {"source": "make_classification", "synthetic": {"samples": 200}}}
    path = write_experiment(tmp_path, tasks={"points": task}, losses=["ce", "spread_sampling"], seeds=1, trials=2)
    folder, _ = run(options(path))
    table = results(folder)
    configs = {name: list(map(json.loads, rows["config"])) for name, rows in table.groupby("method")}
    scales = {name: [each["trainer"]["sampler_scale"] for each in found] for name, found in configs.items()}
    assert set(table["status"]) == {"finished"}
    assert all(each["trainer"]["sampler"] == "spread" for each in configs["spread_sampling"])
    assert all(3 <= scale <= 300 for scale in scales["spread_sampling"])
    assert len(set(scales["spread_sampling"])) > 1
    assert set(scales["ce"]) == {30.0}
