"""The paper's synthetic experiment to the letter (O'Malley, arXiv:2601.04941), as its published code runs it.

    python benchmarks/published.py
    python benchmarks/published.py --table

Its protocol is not matcard's: no validation part, a split that is not stratified and the same for every seed, a scaler
that has seen the test part, and the epoch that is best on the test part. It is repeated to see whether the published
figures are found again; `python -m matcard.compare --config synthetic` compares losses on these data.
"""

from __future__ import annotations

import argparse
import math
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from matcard.data.options import DataOptions, SyntheticOptions
from matcard.data.read import read_labelled
from matcard.evaluation.confusion import AVERAGES, Counts, confusion_matrix
from matcard.files import written_whole
from matcard.invariants import magnitude, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Float32, Int, Int64
    from torch import Tensor

FIGURES = {
    "magnitude": {0.5: 0.848, 0.8: 0.755, 0.9: 0.683},
    "cross_entropy": {0.5: 0.808, 0.8: 0.691, 0.9: 0.601},
    "spread": {0.5: 0.765, 0.8: 0.615, 0.9: 0.261},
    "mse": {0.5: 0.153, 0.8: 0.114, 0.9: 0.111},
}
"""Macro-F1 by loss and share of the majority class: the final figures of the published code."""
SPLIT_SEED = 42
HIDDEN, BATCH, LEARNING_RATE = 32, 32, 0.01


class Parts(NamedTuple):
    """Rows and classes of the training and the test part."""

    x_train: Float32[np.ndarray, "n F"]
    x_test: Float32[np.ndarray, "m F"]
    y_train: Int64[np.ndarray, " n"]
    y_test: Int64[np.ndarray, " m"]


def make_parts(majority: float, samples: int = 10_000) -> Parts:
    """Scale all rows together, and keep 30 % of them for testing."""
    read = read_labelled(
        DataOptions(source="ten_clusters", synthetic=SyntheticOptions(samples=samples, majority=majority))
    )
    scaled = StandardScaler().fit_transform(read.inputs.astype(np.float64)).astype(np.float32)
    return Parts(*train_test_split(scaled, read.codes, test_size=0.3, random_state=SPLIT_SEED))


def _errors(logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, "N C"]:
    return nn.functional.one_hot(targets, logits.shape[-1]) - logits.softmax(dim=-1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "magnitude": lambda logits, targets: magnitude(_errors(logits.double(), targets), origin=True) - 1,
    "cross_entropy": nn.functional.cross_entropy,
    "spread": lambda logits, targets: spread(_errors(logits.double(), targets), origin=True) - 1,
    "mse": lambda logits, targets: _errors(logits, targets).square().mean(),
}
"""Losses of the experiment; magnitude and spread at t = 1, the mean of squares over samples and classes."""


def train_published(
    loss: str, parts: Parts, epochs: int, seed: int
) -> tuple[Float[np.ndarray, "m C"], Float[np.ndarray, "m C"], int]:
    """Train a network of 32 hidden units by plain gradient descent.

    Args:
        loss: one of `LOSSES`.
        parts: rows and classes.
        epochs: number of them.
        seed: of the initialisation and of the order.

    Returns:
        probabilities of the test part in the epoch with the best macro-F1 on it, those of the last epoch, and the
        number of that best epoch.
    """
    classes = int(max(parts.y_train.max(), parts.y_test.max())) + 1
    x, x_test, y = map(torch.from_numpy, parts[:3])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
    weights: list[Tensor] = list(network.parameters())
    draws = np.random.default_rng(seed)
    best, best_score, best_epoch, last = np.empty(0), -math.inf, -1, np.empty(0)
    for epoch in range(epochs):
        for batch in torch.from_numpy(draws.permutation(len(y))).split(BATCH):
            gradients = torch.autograd.grad(LOSSES[loss](network(x[batch]), y[batch]), weights)
            with torch.no_grad():
                torch._foreach_add_(weights, gradients, alpha=-LEARNING_RATE)
        with torch.no_grad():
            last = network(x_test).double().softmax(dim=1).numpy()
        if (score := macro_f1(parts, last)) > best_score:
            best, best_score, best_epoch = last, score, epoch
    return best, last, best_epoch


def macro_f1(parts: Parts, probabilities: Float[np.ndarray, "m C"]) -> float:
    """Score probabilities of the test part at their most likely classes."""
    counts = confusion_matrix(parts.y_test, probabilities.argmax(axis=1), probabilities.shape[1])
    return float(AVERAGES["macro_f1"](Counts.of(counts)))


def run(seeds: int, epochs: int, samples: int = 10_000) -> pd.DataFrame:
    """Train each loss on each share of the majority with each seed; gives a row a run."""
    rows = []
    for majority in FIGURES["magnitude"]:
        parts = make_parts(majority, samples)
        for loss, seed in product(FIGURES, range(seeds)):
            best, last, epoch = train_published(loss, parts, epochs, seed)
            scores = {"test_macro_f1": macro_f1(parts, best), "last_epoch_macro_f1": macro_f1(parts, last)}
            rows.append({"task": f"majority {majority}", "method": loss, "seed": seed, "best_epoch": epoch, **scores})
            print(f"{loss}, majority {majority}, seed {seed}: macro-F1 {scores['test_macro_f1']:.3f}", flush=True)
    return pd.DataFrame(rows)


def table(results: pd.DataFrame) -> str:
    """Write the means beside the published figures; `within` is .02 or two standard deviations over seeds."""
    lines = ["| loss | majority | published | mean | deviation | difference | within | last epoch |", "|---" * 8 + "|"]
    for loss, figures in FIGURES.items():
        for majority, figure in figures.items():
            runs = results[(results["task"] == f"majority {majority}") & (results["method"] == loss)]
            mean, deviation = runs["test_macro_f1"].mean(), runs["test_macro_f1"].std()
            within = "yes" if abs(mean - figure) <= max(0.02, 2 * deviation) else "**no**"
            last = runs["last_epoch_macro_f1"].mean()
            name = loss.replace("_", "-")
            shown = f"{figure:.3f} | {mean:.3f} | {deviation:.3f} | {mean - figure:+.3f} | {within} | {last:.3f}"
            lines.append(f"| {name} | {majority} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "published.parquet")
    parser.add_argument("--table", action="store_true", help="print the table of what there is, and train nothing")
    options = parser.parse_args()
    if not options.table:
        results = run(options.seeds, options.epochs)
        with written_whole(options.results) as beside:
            results.to_parquet(beside, index=False)
    print(table(pd.read_parquet(options.results)))


if __name__ == "__main__":
    main()
