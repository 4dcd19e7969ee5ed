"""Runs that were killed or stopped, and what resumes them."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from train_cases import command, options, run_here

from matcard.errors import InputError
from matcard.training import rundir as run_module
from matcard.training.run import resume


@pytest.mark.parametrize("schedule", ["one-cycle", "plateau", "cosine"])
def test_a_killed_run_ends_as_an_uninterrupted_one(small_table, tmp_path, schedule):
    more = [f"--optimizer.schedule={schedule}", "--trainer.max_epochs=4", "--trainer.patience=3"]
    whole = run_here(*options(small_table, tmp_path / "whole", *more))
    killed = tmp_path / "killed"
    argv = [sys.executable, "-m", "matcard.train", *options(small_table, killed, *more)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / "checkpoints" / "last.ckpt").is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not (killed / "test_metrics.json").is_file():
        resume(killed)
    for name in ("metrics.csv", "test_metrics.json"):
        assert (killed / name).read_text() == (whole.path / name).read_text()
    states = [torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (whole.path, killed)]
    for name, value in states[0]["state_dict"].items():
        torch.testing.assert_close(states[1]["state_dict"][name], value, rtol=0, atol=0)


def _end_past_the_best(run, number, *argv):
    """Start a run that learns nothing, and end it by a signal when its best epoch lies two epochs back or more."""
    still = ["--optimizer.lr=1e-30", "--optimizer.weight_decay=0", "--trainer.max_epochs=400", "--trainer.patience=0"]
    argv = [sys.executable, "-m", "matcard.train", *argv, *still]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while np.argmax(scores := _scores(run) or [0.0]) > len(scores) - 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    process.wait(timeout=60)


def _scores(run):
    """The monitored metric of each epoch that stands in the run's file."""
    if not (run / "metrics.csv").is_file():
        return []
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row["val_macro_f1"]) for row in csv.DictReader(file)]


@pytest.mark.filterwarnings("ignore:epoch .* predicts one class")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_goes_on_from_its_last_epoch_where_the_best_lies_further_back(small_table, tmp_path, number, capsys):
    run = tmp_path / "run"
    _end_past_the_best(run, number, *options(small_table, run))
    done = len(_scores(run))
    states = {name: torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last")}
    # A kill may come after an epoch's row and before its checkpoint.
    assert states["last"]["epoch"] in (done - 1, done - 2)
    assert states["last"]["epoch"] > states["best"]["epoch"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = done + 1
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    resume(run)
    shown = capsys.readouterr().out
    assert f"goes on after epoch {states['last']['epoch'] + 1}\n" in shown
    first = next(line for line in shown.splitlines() if line.startswith("epoch "))
    assert first.startswith(f"epoch {states['last']['epoch'] + 2}/")
    assert len(_scores(run)) == done + 1


@pytest.fixture
def begun(finished, tmp_path):
    """A run of two epochs that looks as if it had been killed after the second."""
    path = tmp_path / "begun"
    shutil.copytree(finished, path)
    (path / "test_metrics.json").unlink()
    return path


def test_a_moved_run_keeps_its_best_epoch(small_table, tmp_path):
    run_here(*options(small_table, tmp_path / "here", "--optimizer.schedule=none"))
    begun = (tmp_path / "here").rename(tmp_path / "there")
    (begun / "test_metrics.json").unlink()
    best = begun / "checkpoints" / "best.ckpt"
    state = torch.load(best, weights_only=True)
    last = torch.load(begun / "checkpoints" / "last.ckpt", weights_only=True)
    scores = [values for name, values in last["callbacks"].items() if "val_macro_f1" in name]
    scores[0]["best_model_score"] = torch.tensor(2.0)
    scores[0]["best_k_models"] = dict.fromkeys(scores[0]["best_k_models"], torch.tensor(2.0))
    scores[0]["kth_value"] = torch.tensor(2.0)
    torch.save(last, begun / "checkpoints" / "last.ckpt")
    config = yaml.safe_load((begun / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = 3
    (begun / "config.yaml").write_text(yaml.safe_dump(config))
    resume(begun)
    assert torch.load(best, weights_only=True)["epoch"] == state["epoch"]
    assert torch.load(begun / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 2


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_damaged_checkpoint_is_named(begun, name):
    path = begun / "checkpoints" / f"{name}.ckpt"
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=rf"{name}\.ckpt is damaged.*copy it again"):
            resume(begun)
    done = command("--resume", str(begun))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_run_without_its_last_checkpoint_goes_on_from_its_best(begun, capsys):
    (begun / "checkpoints" / "last.ckpt").unlink()
    resume(begun)
    assert "last.ckpt is missing: goes on after epoch" in " ".join(capsys.readouterr().out.split())


def test_a_run_that_begins_again_says_what_it_writes_over(begun, capsys):
    shutil.rmtree(begun / "checkpoints")
    resume(begun)
    shown = " ".join(capsys.readouterr().out.split())
    assert "has no checkpoint: begins anew, and writes" in shown
    assert "metrics.csv over" in shown


def test_a_run_killed_before_its_first_epoch_begins_again(finished, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.yaml").write_text((finished / "config.yaml").read_text())
    resume(begun)
    assert (begun / "test_metrics.json").read_text() == (finished / "test_metrics.json").read_text()


@pytest.mark.parametrize("written", [[], ["left_out.csv"], ["left_out.csv", "data.sha256"]])
def test_a_run_killed_before_its_split_makes_one(finished, tmp_path, written):
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("config.yaml", *written):
        (begun / name).write_text((finished / name).read_text())
    assert resume(begun).split.read_text() == (finished / "split.json").read_text()


def test_the_split_is_written_after_its_fingerprint(small_table, tmp_path, monkeypatch):
    order = []
    write = run_module.write_text
    monkeypatch.setattr(run_module, "write_text", lambda path, text: (order.append(path.name), write(path, text)))
    run_here(*options(small_table, tmp_path / "run", "--trainer.max_epochs=1"))
    assert order[-2:] == ["data.sha256", "split.json"], "a kill in between must not leave a split alone"


def test_what_cannot_be_resumed_says_why(finished, tmp_path):
    with pytest.raises(InputError, match="finished"):
        resume(finished)
    with pytest.raises(InputError, match=r"no config\.yaml"):
        resume(tmp_path)
    done = command("--resume", str(finished), "--seed=3")
    assert done.returncode == 2
    assert "stands alone" in done.stderr


@pytest.mark.parametrize("what", ["labels", "crystals", "crystals and labels", "split"])
def test_changed_data_are_noticed_by_content(finished, small_table, tmp_path, what):
    begun = tmp_path / "begun"
    begun.mkdir()
    rows = [json.loads(line) for line in small_table.read_text().splitlines()]
    if "labels" in what:
        rows[0]["kind"] = "rocksalt" if rows[0]["kind"] != "rocksalt" else "caesium"
    if "crystals" in what:
        rows[0]["structure"]["sites"][0]["abc"][0] += 0.01
    table = tmp_path / "changed.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    config = yaml.safe_load((finished / "config.yaml").read_text())
    config["data"]["source"] = str(table)
    (begun / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("split.json", "data.sha256"):
        (begun / name).write_text((finished / name).read_text())
    if what == "split":
        split = json.loads((begun / "split.json").read_text())
        split["train"], split["val"] = split["train"][1:], [*split["val"], split["train"][0]]
        (begun / "split.json").write_text(json.dumps(split))
    with pytest.raises(InputError, match=f"the {what} of .* have changed since"):
        resume(begun)


def test_ctrl_c_says_how_to_go_on(small_table, tmp_path):
    run = tmp_path / "run"
    argv = [sys.executable, "-m", "matcard.train", *options(small_table, run, "--trainer.max_epochs=500")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"--resume {run}" in stderr
    assert "Traceback" not in stderr
