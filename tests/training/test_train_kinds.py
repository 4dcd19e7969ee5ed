"""Runs on images, compositions and table rows, by the shipped configurations."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from matcard.data.read import divide, read_labelled
from matcard.errors import InputError
from matcard.files import resource_dir
from matcard.models import CGCNNOptions, GlassNetOptions, MLPOptions, ResNetOptions
from matcard.training.config import parse_config
from matcard.training.fit import check_config
from matcard.training.run import resume, train

if TYPE_CHECKING:
    from pathlib import Path

CONFIGS = sorted(path.name for path in resource_dir("configs").glob("*.yaml"))


def parsed(*argv: str):
    return parse_config(argv, prog="python -m matcard.train", description="")


def run_here(*argv: str):
    """Give the run and what it printed."""
    console = Console(file=io.StringIO(), width=120)
    run = train(parsed("--trainer.accelerator=cpu", "--report=false", *argv), console)
    return run, console.file.getvalue()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_fits_together(name):
    config = parsed("--config", name)
    check_config(config)
    assert parsed("--config", name.removesuffix(".yaml")) == config


def test_the_models_of_the_configurations():
    models = {name.removesuffix(".yaml"): type(parsed("--config", name).model) for name in CONFIGS}
    expected = {"train": CGCNNOptions, "synthetic": MLPOptions, "glass": GlassNetOptions, "digits_lt": ResNetOptions}
    assert models.items() >= expected.items()


def test_a_long_tail_of_digits(tmp_path):
    run, printed = run_here("--config=digits_lt", "--trainer.max_epochs=2", f"--run_dir={tmp_path / 'run'}")
    assert "images/s" in printed
    assert "cut" in printed
    split = json.loads(run.split.read_text())
    predictions = pd.read_parquet(run.predictions)
    targets = predictions[predictions["split"] == "train"]["target"].value_counts()
    counts = [targets[str(k)] for k in range(10)]
    assert counts[9] == counts[0] // 20
    assert counts == sorted(counts, reverse=True)
    assert len(split["train"]) + len(split["val"]) + len(split["test"]) + len(split["cut"]) == 1797
    assert set(predictions["id"]).isdisjoint(split["cut"])
    for group in ("many", "medium", "few"):
        assert f"{group}-shot recall" in printed
    shots = json.loads(run.test_metrics.read_text())["shots"]
    assert [shots[group]["classes"] for group in ("many", "medium", "few")] == [
        sum(count > 100 for count in counts),
        sum(20 <= count <= 100 for count in counts),
        sum(count < 20 for count in counts),
    ]
    # Killed before the test part was looked at: the same parts, the same end.
    run.test_metrics.unlink()
    again = resume(run.path, Console(file=io.StringIO()))
    assert json.loads(again.split.read_text()) == split
    pd.testing.assert_frame_equal(pd.read_parquet(again.predictions), predictions)


def test_synthetic_rows(tmp_path):
    options = ["--config=synthetic", "--data.synthetic.samples=600", "--data.synthetic.majority=0.5"]
    run, printed = run_here(*options, "--trainer.max_epochs=1", f"--run_dir={tmp_path / 'run'}")
    assert "rows/s" in printed
    assert "20 columns of numbers: x0, x1" in printed
    assert len(pd.read_parquet(run.predictions)) == 600
    assert (run.path / "model" / "model.json").is_file()


def glasses(path: Path, n: int, seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.ones(4), n) * 100
    frame = pd.DataFrame(shares, columns=["SiO2", "Na2O", "CaO", "B2O3"])
    frame.assign(Tg=400 + 2 * frame["SiO2"] + frame["CaO"]).to_csv(path, index=False)


def test_glasses_of_two_tables(tmp_path):
    glasses(tmp_path / "train.csv", 120, 0)
    glasses(tmp_path / "validation.csv", 40, 1)
    sources = [f"--data.source={tmp_path / 'train.csv'}", f"--data.test_source={tmp_path / 'validation.csv'}"]
    sizes = ["--data.window=440,480", "--model.width=8", "--model.hidden=8", "--trainer.batch_size=64"]
    run, printed = run_here(
        "--config=glass", *sources, *sizes, "--trainer.max_epochs=1", f"--run_dir={tmp_path / 'run'}"
    )
    assert "compositions/s" in printed
    predictions = pd.read_parquet(run.predictions)
    test = predictions[predictions["split"] == "test"]
    rows = test["id"].str.removesuffix(" (test)").astype(int)  # counted in their own table
    assert sorted(rows) == list(range(1, 41))
    tg = pd.read_csv(tmp_path / "validation.csv")["Tg"].to_numpy()[rows - 1]
    named = np.where((tg >= 440) & (tg <= 480), "440 <= Tg <= 480", "not 440 <= Tg <= 480")
    assert (test["target"] == named).all()
    saved = yaml.safe_load(run.config.read_text())
    assert saved["data"]["window"] == [440.0, 480.0]
    assert saved["data"]["test_source"] == str(tmp_path / "validation.csv")


def test_crystals_made_rarer(small_table, tmp_path):
    words = [
        f"--data.source={small_table}", "--data.target=kind", "--data.jobs=1", "--data.split.kind=random",
        "--data.imbalance.kind=ratio", "--data.imbalance.factor=3", "--data.graph.neighbors=8",
    ]  # fmt: skip
    options = parsed(*words).data
    data = divide(read_labelled(options), options, seed=4)
    counts = np.bincount(data.codes[data.split.train])
    assert counts[0] // counts[1] == 3
    assert counts[1] == counts[2]
    small = ["--model.width=8", "--model.hidden=8", "--trainer.batch_size=16", "--trainer.max_epochs=1"]
    run, printed = run_here(*words, "--seed=4", *small, f"--run_dir={tmp_path / 'run'}")
    assert "crystals/s" in printed
    predictions = pd.read_parquet(run.predictions)
    assert len(predictions) == 60 - len(data.split.cut)
    assert set(predictions["id"]) == set(np.delete(data.samples.ids, data.split.cut).tolist())


@pytest.mark.parametrize(
    ("argv", "model"),
    [
        ([], CGCNNOptions),
        (["--data.source=digits"], ResNetOptions),
        (["--data.source", "ten_clusters"], MLPOptions),
        (["--data.source=some.csv", "--data.kind=compositions"], MLPOptions),
        (["--data.source=digits", "--model.name=mlp"], MLPOptions),
        (["--data.source=nowhere.csv"], CGCNNOptions),
    ],
)
def test_the_kind_of_data_chooses_the_model(argv, model):
    assert type(parsed(*argv).model) is model


def test_a_file_of_options_for_the_default_model(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("data: {source: digits}\nmodel: {depth: 14}\n")
    assert parsed("--config", str(file)).model == ResNetOptions(depth=14)
    file.write_text("data: {source: digits}\nmodel: {name: mlp, hidden: 7}\n")
    assert parsed("--config", str(file)).model == MLPOptions(hidden=7)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--data.source=digits", "--model.name=cgcnn"], "cgcnn takes crystals; for images use mlp or resnet"),
        (["--model.name=resnet"], "resnet takes images; for crystals use cgcnn or transformer"),
        (
            ["--data.source=ten_clusters", "--model.name=glassnet"],
            "glassnet takes compositions; for table rows use mlp",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_anything_is_read(argv, says, tmp_path):
    with pytest.raises(InputError, match=says):
        run_here(*argv, f"--run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()
