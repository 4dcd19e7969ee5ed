"""The published experiment: its losses are the library's; its figures are found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from comparison_cases import options, results, run, write_experiment
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from matcard.comparison.rivals import BATCH, LOSSES, PublishedOptions, make_parts, rival_options, train_published
from matcard.data.options import DataOptions, SyntheticOptions
from matcard.data.read import read_labelled
from matcard.errors import InputError
from matcard.losses import build_loss

FIGURES = {
    "magnitude": {0.5: 0.848, 0.8: 0.755, 0.9: 0.683},
    "cross_entropy": {0.5: 0.808, 0.8: 0.691, 0.9: 0.601},
    "spread": {0.5: 0.765, 0.8: 0.615, 0.9: 0.261},
    "mse": {0.5: 0.153, 0.8: 0.114, 0.9: 0.111},
}
"""Macro-F1 by loss and share of the majority class: the final figures of the published code."""
LIBRARY = {
    "magnitude": {"name_or_options": "error"},
    "spread": {"name_or_options": "error", "invariant": "spread"},
    "cross_entropy": {"name_or_options": "cross_entropy"},
    "mse": {"name_or_options": "brier", "reduction": "mean"},
}
CLASSES = 10


def parts_of(majority, samples):
    read = read_labelled(
        DataOptions(source="ten_clusters", synthetic=SyntheticOptions(samples=samples, majority=majority))
    )
    return make_parts(read.inputs, read.codes)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_librarys(name):
    torch.manual_seed(0)
    logits = torch.randn(16, CLASSES, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(CLASSES, (16,))
    here = LOSSES[name](logits, targets)
    there = build_loss(**LIBRARY[name])(logits, targets) / (CLASSES if name == "mse" else 1)
    assert here.item() == pytest.approx(there.item())
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (here, there)))


def test_training_is_plain_gradient_descent():
    parts = parts_of(0.5, 600)
    torch.manual_seed(7)
    network = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, CLASSES))
    optimizer, draws = torch.optim.SGD(network.parameters(), 0.01), np.random.default_rng(7)
    x, y, x_test = map(torch.from_numpy, (parts.x_train, parts.y_train, parts.x_test))
    scores, outputs = [], []
    for _ in range(4):
        order = draws.permutation(len(x))
        for k in range(0, len(x), BATCH):
            batch = order[k : k + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            outputs.append(network(x_test).softmax(dim=1).numpy())
        scores.append(f1_score(parts.y_test, outputs[-1].argmax(axis=1), average="macro"))
    state = torch.random.get_rng_state()
    best, last, epoch = train_published("cross_entropy", parts, 4, seed=7)
    assert torch.equal(torch.random.get_rng_state(), state), "the generator is left alone"
    assert epoch == int(np.argmax(scores)), "the best on the test part"
    np.testing.assert_allclose(best, outputs[epoch], atol=1e-5)
    np.testing.assert_allclose(last, outputs[-1], atol=1e-5)


def test_the_parts_are_as_published():
    parts = parts_of(0.5, 2000)
    rows, classes = np.concatenate([parts.x_train, parts.x_test]), np.concatenate([parts.y_train, parts.y_test])
    assert (len(parts.x_train), len(parts.x_test)) == (1400, 600)
    assert np.abs(rows.mean(axis=0)).max() < 1e-5, "the scaler has seen the test part"
    assert rows.std(axis=0) == pytest.approx(1, abs=1e-4)
    assert np.bincount(classes)[0] == pytest.approx(1000, abs=30)
    again = train_test_split(np.arange(2000), test_size=0.3, random_state=42)[1]
    codes = read_labelled(
        DataOptions(source="ten_clusters", synthetic=SyntheticOptions(samples=2000, majority=0.5))
    ).codes
    np.testing.assert_array_equal(parts.y_test, codes[again])


def test_a_shortened_experiment():
    parts = parts_of(0.5, 3000)
    found = {
        loss: f1_score(parts.y_test, train_published(loss, parts, epochs, seed=0)[0].argmax(axis=1), average="macro")
        for loss, epochs in (("cross_entropy", 8), ("mse", 8), ("magnitude", 24))
    }
    assert found["cross_entropy"] > found["mse"] + 0.05
    assert found["mse"] < 0.13, "its steps are too small to leave the beginning"
    assert found["magnitude"] > 0.15, "it is slow to begin, and learns"


def test_an_unknown_loss():
    assert set(LOSSES) == {*FIGURES}
    assert rival_options({"name": "published"}) == PublishedOptions()
    with pytest.raises(InputError, match=r"focal.*magnitude"):
        rival_options({"name": "published", "loss": "focal"})


@pytest.mark.usefixtures("without_report")
def test_the_experiment_as_a_comparison(tmp_path):
    shares = {"half": 0.5, "most": 0.9}
    synthetic = {name: {"samples": 600, "majority": share} for name, share in shares.items()}
    losses = {
        loss: {"rival": {"name": "published", "loss": loss, "epochs": 2}} for loss in ("cross_entropy", "magnitude")
    }
    path = write_experiment(
        tmp_path,
        tasks={name: {"data": {"source": "ten_clusters", "synthetic": own}} for name, own in synthetic.items()},
        training={},
        losses=losses,
        reference="cross_entropy",
        trials=0,
    )
    folder, _ = run(options(path, seeds=3))
    table = results(folder)
    assert table.groupby(["task", "method"])["seed"].apply(sorted).tolist() == [[0, 1, 2]] * 4
    assert table["val_macro_f1"].isna().all()
    assert table["last_epoch_macro_f1"].notna().all()
    assert (table["test_macro_f1"] >= table["last_epoch_macro_f1"]).all()
    assert set(zip(table["n_train"], table["n_val"], table["n_test"], strict=True)) == {(420, 0, 180)}
    text = (folder / "table.md").read_text()
    assert ", decision" not in text, "there is no validation part to choose one on"
    assert "cross\\_entropy, magnitude: by the protocol of the published code" in text


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
