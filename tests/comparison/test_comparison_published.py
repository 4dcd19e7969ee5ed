"""The published experiment: its losses are the library's, each learns at its own pace; its figures are found again."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from comparison_cases import write_experiment
from rich.console import Console

from matcard.comparison.options import CompareOptions
from matcard.comparison.published import CLASSES, FIGURES, LOSSES, Networks, make_parts, reproduce
from matcard.comparison.run import compare
from matcard.errors import InputError
from matcard.losses import build_loss

LIBRARY = {
    "magnitude": {"name_or_options": "error"},
    "spread": {"name_or_options": "error", "invariant": "spread"},
    "cross_entropy": {"name_or_options": "cross_entropy"},
    "mse": {"name_or_options": "brier", "reduction": "mean"},
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_side_by_side_are_the_librarys(name):
    torch.manual_seed(0)
    logits = torch.randn(3, 16, CLASSES, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(CLASSES, (3, 16))
    side_by_side = LOSSES[name](logits, targets)
    (gradient,) = torch.autograd.grad(side_by_side, logits)
    loss = build_loss(**LIBRARY[name])
    factor = 1 / CLASSES if name == "mse" else 1.0
    one_by_one = factor * sum(loss(z, y) for z, y in zip(logits, targets, strict=True))
    assert side_by_side.item() == pytest.approx(one_by_one.item())
    torch.testing.assert_close(gradient, torch.autograd.grad(one_by_one, logits)[0])


def test_networks_side_by_side_are_torchs():
    torch.manual_seed(7)
    plain = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, CLASSES))
    networks, x, y = Networks(20, [3, 7]), torch.randn(2, 8, 20), torch.randint(CLASSES, (2, 8))
    optimizer = torch.optim.SGD(plain.parameters(), 0.01)
    for _ in range(3):
        networks.descend(LOSSES["cross_entropy"](networks(x), y))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(plain(x[1]), y[1]).backward()
        optimizer.step()
    torch.testing.assert_close(networks(x)[1], plain(x[1]))


def test_initialisation_leaves_the_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Networks(20, [5])
    torch.testing.assert_close(torch.rand(3), expected)


def test_the_parts_are_as_published():
    parts = make_parts(0.5, 2000)
    rows = np.concatenate([parts.x_train, parts.x_test])
    assert (len(parts.x_train), len(parts.x_test)) == (1400, 600)
    assert np.abs(rows.mean(axis=0)).max() < 1e-5, "the scaler has seen the test part"
    assert rows.std(axis=0) == pytest.approx(1, abs=1e-4)
    assert np.bincount(np.concatenate([parts.y_train, parts.y_test]))[0] == pytest.approx(1000, abs=30)


def shortened(loss, **changes):
    options = {"loss": loss, "majorities": {"half": 0.5, "most": 0.8}, "seeds": [0, 1], "epochs": 8, "samples": 3000}
    return reproduce({**options, **changes})


def test_a_shortened_experiment():
    found = {loss: shortened(loss) for loss in ("cross_entropy", "mse")}
    found["magnitude"] = shortened("magnitude", majorities={"half": 0.5}, seeds=[0], epochs=24)
    score = {
        loss: {(run["task"], run["seed"]): run["test"]["argmax"]["macro_f1"] for run in runs}
        for loss, runs in found.items()
    }
    for seed in (0, 1):
        assert score["cross_entropy"]["half", seed] > score["mse"]["half", seed] + 0.05
    assert max(score["mse"].values()) < 0.13, "its steps are too small to leave the beginning"
    assert score["magnitude"]["half", 0] > 0.15, "it is slow to begin, and learns"
    for run in found["cross_entropy"]:
        assert run["test"]["argmax"]["macro_f1"] >= run["last_epoch"]["argmax"]["macro_f1"], "the best on the test part"
        assert 0 <= run["best_epoch"] < 8
        assert run["sizes"] == {"train": 2100, "val": 0, "test": 900}


def test_what_a_network_learns_does_not_depend_on_its_neighbours():
    common = {"loss": "magnitude", "epochs": 1, "samples": 500}
    together = reproduce({**common, "majorities": {"a": 0.5, "b": 0.9}, "seeds": [0, 1]})
    alone = reproduce({**common, "majorities": {"b": 0.9}, "seeds": [1]})
    assert together[3]["task"] == "b"
    assert together[3]["seed"] == 1
    for name in ("macro_f1", "log_loss"):
        assert together[3]["test"]["argmax"][name] == pytest.approx(alone[0]["test"]["argmax"][name], rel=1e-4)


def test_an_unknown_loss():
    with pytest.raises(InputError, match=r"focal.*magnitude"):
        shortened("focal")


@pytest.mark.usefixtures("without_report")
def test_the_experiment_as_a_comparison(tmp_path):
    path = write_experiment(
        tmp_path,
        protocol="published",
        tasks={"half": {"majority": 0.5}, "most": {"majority": 0.9}},
        training={"epochs": 2, "samples": 600},
        losses=["cross_entropy", "magnitude"],
        reference="cross_entropy",
        space={},
    )
    folder = compare(
        CompareOptions(config=str(path), folder=str(tmp_path / "comparison"), seeds=3),
        console=Console(file=io.StringIO()),
        command="again",
    )
    table = pd.read_parquet(folder.path / "results.parquet")
    assert table.groupby(["task", "method"])["seed"].apply(sorted).tolist() == [[0, 1, 2]] * 4
    assert table["val_macro_f1"].isna().all()
    assert table["last_epoch_macro_f1"].notna().all()
    assert json.loads(table["config"].iloc[0])["majorities"] == {"half": 0.5, "most": 0.9}
    text = (folder.path / "table.md").read_text()
    assert "decision" not in text, "there is no validation part to choose one on"
    assert "no validation part" in text


def test_the_committed_results_are_near_the_published_figures():
    table = pd.read_parquet(Path(__file__).parents[2] / "benchmarks" / "results" / "published.parquet")
    found = table.groupby(["task", "method"])["test_macro_f1"].agg(["mean", "std", "count"])
    assert (found["count"] == 5).all()
    within = 0
    for loss, figures in FIGURES.items():
        for majority, figure in figures.items():
            mean, deviation = found.loc[(f"majority {majority}", loss), ["mean", "std"]]
            assert mean == pytest.approx(figure, abs=0.035)
            within += abs(mean - figure) <= max(0.02, 2 * deviation)
    assert within >= 10, "as benchmarks/README.md says"
    for majority in (0.5, 0.8, 0.9):
        order = found.loc[f"majority {majority}"]["mean"].sort_values(ascending=False)
        assert list(order.index) == ["magnitude", "cross_entropy", "spread", "mse"]
