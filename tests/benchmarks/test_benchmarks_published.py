"""The published experiment: its losses are the library's; its figures are found again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from matcard.data.options import DataOptions, SyntheticOptions
from matcard.data.read import read_labelled
from matcard.losses import build_loss

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from published import BATCH, FIGURES, LOSSES, make_parts, run, table, train_published  # noqa: E402

LIBRARY = {
    "magnitude": {"name_or_options": "error"},
    "spread": {"name_or_options": "error", "invariant": "spread"},
    "cross_entropy": {"name_or_options": "cross_entropy"},
    "mse": {"name_or_options": "brier", "reduction": "mean"},
}
CLASSES = 10


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
    parts = make_parts(0.5, 600)
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
    parts = make_parts(0.5, 2000)
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
    parts = make_parts(0.5, 3000)
    found = {
        loss: f1_score(parts.y_test, train_published(loss, parts, epochs, seed=0)[0].argmax(axis=1), average="macro")
        for loss, epochs in (("cross_entropy", 8), ("mse", 8), ("magnitude", 24))
    }
    assert found["cross_entropy"] > found["mse"] + 0.05
    assert found["mse"] < 0.13, "its steps are too small to leave the beginning"
    assert found["magnitude"] > 0.15, "it is slow to begin, and learns"


def test_the_whole_has_a_row_a_run():
    found = run(seeds=2, epochs=2, samples=600)
    assert found.groupby(["task", "method"])["seed"].apply(sorted).tolist() == [[0, 1]] * 12
    assert (found["test_macro_f1"] >= found["last_epoch_macro_f1"]).all()


def test_the_page_shows_the_committed_results_and_they_are_near_the_published_figures():
    results = pd.read_parquet(ROOT / "benchmarks/results/published.parquet")
    assert (results.groupby(["task", "method"])["seed"].nunique() == 5).all()
    shown = table(results)
    assert shown in (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert shown.count("| yes |") == 10
    found = results.groupby(["task", "method"])["test_macro_f1"].mean()
    for loss, figures in FIGURES.items():
        for majority, figure in figures.items():
            assert found[f"majority {majority}", loss] == pytest.approx(figure, abs=0.035)
    for majority in (0.5, 0.8, 0.9):
        order = found[f"majority {majority}"].sort_values(ascending=False)
        assert list(order.index) == ["magnitude", "cross_entropy", "spread", "mse"]
