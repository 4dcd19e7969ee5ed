"""Runs that were killed or stopped, and what resumes them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from train_cases import command, options, run_here

from matcard.errors import InputError
from matcard.training import prepare as prepare_module
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
    write = prepare_module.write_text
    monkeypatch.setattr(prepare_module, "write_text", lambda path, text: (order.append(path.name), write(path, text)))
    run_here(*options(small_table, tmp_path / "run", "--trainer.max_epochs=1"))
    assert order == ["data.sha256", "split.json"], "a kill in between must not leave a split alone"


def test_what_cannot_be_resumed_says_why(finished, tmp_path):
    with pytest.raises(InputError, match="finished"):
        resume(finished)
    with pytest.raises(InputError, match=r"no config\.yaml"):
        resume(tmp_path)
    done = command("--resume", str(finished), "--seed=3")
    assert done.returncode == 2
    assert "stands alone" in done.stderr


def test_changed_labels_are_noticed(finished, small_table, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    rows = [json.loads(line) for line in small_table.read_text().splitlines()]
    rows[0]["kind"] = "rocksalt" if rows[0]["kind"] != "rocksalt" else "caesium"
    table = tmp_path / "changed.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    config = yaml.safe_load((finished / "config.yaml").read_text())
    config["data"]["source"] = str(table)
    (begun / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("split.json", "data.sha256"):
        (begun / name).write_text((finished / name).read_text())
    with pytest.raises(InputError, match="changed since"):
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
