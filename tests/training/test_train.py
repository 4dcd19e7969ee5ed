"""Whole runs on sixty small crystals: the files they leave, bad input."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, recall_score
from train_cases import command, options, run_here

from matcard.cli import make_console, run_command
from matcard.errors import InputError, MatcardWarning
from matcard.train import main
from matcard.training import fit as fit_module
from matcard.training.callbacks import WholeCheckpoints
from matcard.training.config import parse_config
from matcard.training.fit import build_trainer
from matcard.training.options import Config
from matcard.training.run import resume
from matcard.training.rundir import RunDir

FILES = [
    "config.yaml", "split.json", "left_out.csv", "metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt",
    "test_metrics.json", "predictions.parquet", "environment.json", "decision.json",
]  # fmt: skip


def test_a_run_leaves_its_files(finished):
    for name in FILES:
        assert (finished / name).stat().st_size > 0, name
    assert list((finished / "tensorboard").glob("events*"))
    assert not list(finished.rglob("*.part"))


def test_the_parts_are_of_different_formulas(finished, small_table):
    formula = {}
    for line in small_table.read_text().splitlines():
        row = json.loads(line)
        formula[row["id"]] = tuple(sorted(site["species"][0]["element"] for site in row["structure"]["sites"]))
    split = json.loads((finished / "split.json").read_text())
    parts = [{formula[name] for name in split[part]} for part in ("train", "val", "test")]
    assert sum(len(split[part]) for part in ("train", "val", "test")) == 60
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_predictions_and_metrics_agree(finished):
    predictions = pd.read_parquet(finished / "predictions.parquet")
    names = ["caesium", "rocksalt", "zincblende"]
    assert list(predictions)[:5] == ["id", "split", "target", "predicted", "predicted_at_decision"]
    assert list(predictions)[5:] == [f"prob_{name}" for name in names]
    assert len(predictions) == predictions["id"].nunique() == 60
    probabilities = predictions[[f"prob_{name}" for name in names]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-9)
    assert (predictions["predicted"] == np.array(names)[probabilities.argmax(1)]).all()
    test = predictions[predictions["split"] == "test"]
    metrics = json.loads((finished / "test_metrics.json").read_text())
    assert metrics["n"] == len(test)
    assert metrics["accuracy"] == pytest.approx((test["target"] == test["predicted"]).mean())
    macro = f1_score(test["target"], test["predicted"], average="macro", labels=names, zero_division=0)
    assert metrics["macro_f1"] == pytest.approx(macro)
    recalls = recall_score(test["target"], test["predicted"], average=None, labels=names, zero_division=0)
    assert [metrics["recall"][name]["value"] for name in names] == pytest.approx(list(recalls))
    for key in ("balanced_accuracy", "minority_recall", "mcc", "g_mean", "roc_auc", "average_precision"):
        assert key in metrics
    assert set(metrics["recall"]["rocksalt"]) >= {"value", "low", "high", "n"}


def test_metrics_have_a_row_an_epoch_and_choose_the_best(finished):
    rows = pd.read_csv(finished / "metrics.csv")
    assert rows["epoch"].tolist() == [0, 1]
    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["epoch"] == rows["val_macro_f1"].idxmax()


def test_its_configuration_repeats_the_run(finished, tmp_path):
    again = run_here("--config", str(finished / "config.yaml"), f"--run_dir={tmp_path / 'again'}").path
    for name in ("metrics.csv", "test_metrics.json", "split.json"):
        assert (again / name).read_text() == (finished / name).read_text()
    first, second = (pd.read_parquet(path / "predictions.parquet") for path in (finished, again))
    pd.testing.assert_frame_equal(first, second)


def test_another_seed_is_another_run(finished, small_table, tmp_path):
    other = run_here(*options(small_table, tmp_path / "other", "--seed=1")).path
    assert (other / "split.json").read_text() != (finished / "split.json").read_text()


def test_bad_rows_are_listed_and_counted(small_table, tmp_path):
    rows = [json.loads(line) for line in small_table.read_text().splitlines()]
    rows[3]["structure"]["lattice"]["matrix"][0] = [0.0, 0.0, 0.0]
    rows[7]["kind"] = None
    rows[8] |= {"kind": "lost", "structure": {}}
    table = tmp_path / "bad.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    done = command(*options(table, tmp_path / "run"), check=True)
    left_out = pd.read_csv(tmp_path / "run" / "left_out.csv")
    assert left_out["id"].tolist() == ["c3", "c7", "c8"]
    assert left_out["class"].tolist()[2] == "lost"
    assert "1 rows left out are of class 'lost'" in done.stdout
    assert left_out["class"].tolist()[0] == rows[3]["kind"]
    assert "volume" in left_out["reason"][0]
    assert "kind is missing" in left_out["reason"][1]
    assert "left out" in done.stdout
    assert "1 rows without a target" in done.stdout


def test_too_many_bad_rows_stop_the_run(small_table, tmp_path):
    rows = [json.loads(line) for line in small_table.read_text().splitlines()]
    for row in rows[:6]:
        row["structure"]["sites"][0]["abc"] = [float("nan")] * 3
    table = tmp_path / "bad.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    done = command(*options(table, tmp_path / "run"))
    assert done.returncode == 2
    assert "6 of 60 rows with a target" in done.stderr
    assert "max_left_out" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("bad.jsonl line") == 5, "the first are named"
    run = run_here(*options(table, tmp_path / "run", "--data.max_left_out=0.2"))
    assert run.test_metrics.is_file()
    assert len(pd.read_csv(run.left_out)) == 6


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("--data.target=kin", "no column 'kin'"),
        ("--data.split.kind=duplicates", "no groups of kind"),
        ("--decision.rule=cost", "costs"),
        ("--decision.positive=rocksal", "rocksal"),
        ("--trainer.monitor=f1", "f1"),
        ("--model.init_from=nowhere.ckpt", "nowhere.ckpt"),
    ],
)
def test_nothing_is_made_before_all_is_accepted(small_table, tmp_path, monkeypatch, wrong, words):
    monkeypatch.chdir(tmp_path)
    given = [word for word in options(small_table, tmp_path / "run") if word.split("=")[0] != wrong.split("=")[0]]
    extra = ["--decision.rule=best_f1"] if "positive" in wrong else []
    with pytest.raises(InputError, match=words):
        run_here(*given, wrong, *extra)
    assert not (tmp_path / "run").exists(), "the corrected command would find it taken"


def test_a_place_that_cannot_be_made_is_told_before_data_are_read(small_table, tmp_path, monkeypatch):
    monkeypatch.setattr("matcard.training.run.read_labelled", lambda *_: pytest.fail("data were read"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--run_dir .* cannot be made"):
        run_here(*options(small_table, tmp_path / "file" / "run"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"exists and is not empty"):
        run_here(*options(small_table, tmp_path / "taken"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--data.target=knd"], ["knd", "kind"]),
        (["--data.source=nowhere.csv"], ["nowhere.csv", "perovskite_phases"]),
        (["--data.source=perovskite_phase"], ["perovskite_phases"]),
        (["--trainer.monitor=macro_f"], ["macro_f", "macro_f1"]),
        (["--data.target=size"], ["size", "--data.threshold"]),
        (["--data.target=size", "--data.threshold=99"], ["size", "99"]),
        (["--run_dir=/dev/null/run"], ["/dev/null/run", "name another"]),
    ],
)
def test_bad_usage_exits_2(small_table, tmp_path, capsys, changed, words):
    with pytest.raises(SystemExit) as stopped:
        run_command(main, [*options(small_table, tmp_path / "run"), *changed])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    for word in words:
        assert word in told
    assert not (tmp_path / "run").exists(), "nothing was begun"


def test_a_metric_that_validation_cannot_give_is_refused(small_table, tmp_path):
    rows = [json.loads(line) for line in small_table.read_text().splitlines()]
    for k, row in enumerate(rows):
        row["kind"] = "rare" if k == 0 else "common"
    table = tmp_path / "rare.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    with (
        pytest.warns(MatcardWarning, match="has no sample of class rare"),
        pytest.raises(InputError, match="roc_auc is undefined on the validation part, which holds 'common' only"),
    ):
        run_here(*options(table, tmp_path / "run", "--trainer.monitor=roc_auc"))


def test_an_undefined_epoch_is_no_reason_to_stop(tmp_path):
    config = parse_config(["--trainer.monitor=mcc", "--trainer.patience=2"], prog="", description="")
    trainer = build_trainer(config, RunDir(tmp_path), make_console())
    (stopping,) = trainer.early_stopping_callbacks
    told = [stopping._evaluate_stopping_criteria(torch.tensor(value))[0] for value in (0.5, torch.nan, torch.nan)]
    assert told == [False, False, True]


def test_a_full_disk_says_what_is_kept(small_table, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(WholeCheckpoints, "save_checkpoint", full)
    with pytest.raises(InputError, match=r"run cannot be written \(No space left.*--resume"):
        run_here(*options(small_table, tmp_path / "run"))


def test_a_model_of_table_rows_is_refused(small_table):
    with pytest.raises(InputError, match=r"mlp takes crystals by numbers: say which with --data.descriptors"):
        run_here(f"--data.source={small_table}", "--model.name=mlp")


@pytest.mark.filterwarnings("ignore:epoch . predicts one class")
def test_a_run_that_had_stopped_early_stays_stopped(small_table, tmp_path):
    # With no learning at all no epoch is better than the first: training stops after 1 + patience epochs.
    more = ["--trainer.patience=2", "--trainer.max_epochs=9", "--optimizer.lr=1e-30", "--trainer.monitor=log_loss"]
    more += ["--optimizer.schedule=none", "--loss.name=ce"]
    run = run_here(*options(small_table, tmp_path / "run", *more))
    metrics, epochs = run.test_metrics.read_text(), len(pd.read_csv(run.metrics))
    assert epochs < 9
    run.test_metrics.unlink()
    resume(run.path)
    assert run.test_metrics.read_text() == metrics
    assert len(pd.read_csv(run.metrics)) == epochs


@pytest.mark.parametrize("started", [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}])
def test_processes_that_others_have_started_agree_on_the_directory(tmp_path, monkeypatch, started):
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MATCARD_RUN_DIR", raising=False)
    with pytest.raises(InputError, match="name it by --run_dir"):
        RunDir.planned(Config())
    run = RunDir.planned(replace(Config(), run_dir=str(tmp_path / "run")))
    assert run.path == tmp_path / "run"
    assert not run.path.exists(), "the first makes it"


def test_two_processes_of_torchrun_are_one_on_the_same_batches(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    rows.assign(kind=np.where(rows["a"] + rows["b"] > 0.7, "odd", "plain")).to_csv(tmp_path / "rows.csv", index=False)
    words = [
        "-m", "matcard.train", f"--data.source={tmp_path / 'rows.csv'}", "--data.target=kind", "--model.name=mlp",
        "--model.hidden=8", "--trainer.max_epochs=3", "--trainer.accelerator=cpu", "--report=false",
        "--loss.name=error", "--loss.combine=add",
    ]  # fmt: skip
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *words]
    alone, shared = [*words, f"--run_dir={tmp_path / 'alone'}"], [*two, f"--run_dir={tmp_path / 'shared'}"]
    for argv in ([*alone, "--trainer.batch_size=16"], [*shared, "--trainer.batch_size=8", "--trainer.devices=2"]):
        done = subprocess.run([sys.executable, *argv], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Recall per class") == 1
    curves = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("alone", "shared")]
    pd.testing.assert_frame_equal(curves[1][curves[0].columns], curves[0], rtol=1e-4, atol=1e-6)
    scores = [pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("alone", "shared")]
    pd.testing.assert_frame_equal(*scores, rtol=1e-4, atol=1e-6)


def test_a_used_directory_is_refused(finished, small_table):
    before = (finished / "config.yaml").read_text()
    with pytest.raises(InputError, match="--resume"):
        run_here(*options(small_table, finished))
    assert (finished / "config.yaml").read_text() == before


def test_numbers_make_classes(small_table, tmp_path):
    argv = options(small_table, tmp_path / "run", "--data.target=size", "--data.bins=4.5,5.5")
    metrics = json.loads(run_here(*argv).test_metrics.read_text())
    assert list(metrics["recall"]) == ["size < 4.5", "4.5 <= size < 5.5", "size >= 5.5"]


def test_a_loss_that_explodes_is_an_error_not_a_result(small_table, tmp_path):
    argv = options(small_table, tmp_path / "run", "--loss.name=ce", "--optimizer.lr=1e30", "--trainer.gradient_clip=0")
    done = command(*argv)
    assert done.returncode == 1
    assert "--optimizer.lr" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "test_metrics.json").exists()


LOSSES = [
    "--loss.name=cross_entropy", "--loss.name=weighted_cross_entropy", "--loss.name=class_balanced",
    "--loss.name=focal", "--loss.name=ldam", "--loss.name=balanced_softmax", "--loss.name=logit_adjustment",
    "--loss.name=brier",
    *(
        f"--loss.name={name}{combine} --loss.invariant={invariant}"
        for name, combines in (
            ("error", ("replace", "multiply", "add")),
            ("triplet", ("add", "divide", "multiply", "ratio")),
        )
        for combine in (f" --loss.combine={combine}" for combine in combines)
        for invariant in ("magnitude", "spread")
    ),
    "--loss.name=per_class", "--loss.name=per_class --loss.invariant=spread",
    "--loss.name=reweight", "--loss.name=reweight --loss.invariant=spread",
    "--loss.name=effective_number --loss.base.name=logit_adjustment --loss.base.tau=0.5",
]  # fmt: skip


def test_processes_on_gpus_share_batch_statistics(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(fit_module.lightning, "Trainer", lambda **options: given.update(options))
    monkeypatch.setattr(fit_module, "_device", lambda options: ("gpu", "32-true"))
    for devices in (1, 2):
        config = parse_config([f"--trainer.devices={devices}"], prog="", description="")
        build_trainer(config, RunDir(tmp_path), make_console())
        assert given["sync_batchnorm"] is (devices == 2)


def module_to_score(argv, monkeypatch):
    """Train, and give what the results would be written from."""
    found = []
    monkeypatch.setattr("matcard.training.run.write_results", lambda run, module, *_: found.append(module))
    run_here(*argv)
    return found.pop()


def test_parts_are_scored_where_the_network_was_trained(small_table, tmp_path, monkeypatch):
    def trainer_elsewhere(config, run, *_, **__):
        def fit(module, data, **_):
            run.checkpoints.mkdir(parents=True)
            torch.save({"state_dict": module.state_dict()}, run.best)

        strategy = SimpleNamespace(root_device=torch.device("meta"))
        return SimpleNamespace(fit=fit, is_global_zero=True, strategy=strategy)

    monkeypatch.setattr(fit_module, "build_trainer", trainer_elsewhere)
    module = module_to_score(options(small_table, tmp_path / "run"), monkeypatch)
    assert {weight.device.type for weight in module.parameters()} == {"meta"}


@pytest.mark.gpu
def test_parts_are_scored_on_the_gpu(small_table, tmp_path, monkeypatch):
    argv = options(small_table, tmp_path / "run", "--trainer.accelerator=gpu")
    module = module_to_score(argv, monkeypatch)
    assert {weight.device.type for weight in module.parameters()} == {"cuda"}


def test_terms_of_the_loss_are_means_over_the_epoch(small_table, tmp_path):
    loss = ("--loss.name=error", "--loss.combine=add", "--loss.lambda_invariant=0.5")
    run = run_here(*options(small_table, tmp_path / "run", *loss, "--trainer.batch_size=16"))
    rows = pd.read_csv(run.path / "metrics.csv")
    np.testing.assert_allclose(rows["train_loss"], rows["loss_base"] + 0.5 * rows["loss_invariant"], rtol=1e-5)


def test_two_processes_share_the_work(small_table, tmp_path):
    run = tmp_path / "run"
    argv = options(small_table, run, "--trainer.devices=2", "--trainer.batch_size=4", "--trainer.diagnostics=true")
    done = command(*argv, check=True)
    assert done.stdout.count("Recall per class") == 1
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1]
    assert metrics.filter(like="gradient_share_").sum(axis=1).tolist() == pytest.approx([1, 1])
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert len(predictions) == predictions["id"].nunique() == 60


def test_a_report_that_fails_fails_no_run(small_table, tmp_path, monkeypatch):
    def fail(path, *, samples):
        raise RuntimeError("no room")

    monkeypatch.setattr("matcard.report.run.write_report", fail)
    with pytest.warns(MatcardWarning, match=r"run: no report was written \(no room\); .*python -m matcard.report"):
        main(options(small_table, tmp_path / "run", "--trainer.max_epochs=1", "--report=true"))
    assert RunDir(tmp_path / "run").test_metrics.is_file()


def test_a_run_starts_from_another(finished, small_table, tmp_path):
    argv = options(small_table, tmp_path / "run", f"--model.init_from={finished}", "--model.freeze=true")
    run = run_here(*argv)
    before, after = (
        torch.load(path, weights_only=True)["state_dict"] for path in (finished / "checkpoints" / "best.ckpt", run.last)
    )
    for name, value in after.items():
        assert torch.equal(value, before[name]) != name.startswith("model.fc_out."), name


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains(small_table, tmp_path, loss):
    run = run_here(*options(small_table, tmp_path / "run", "--trainer.max_epochs=1", *loss.split()))
    metrics = json.loads(run.test_metrics.read_text())
    assert np.isfinite(metrics["log_loss"])
