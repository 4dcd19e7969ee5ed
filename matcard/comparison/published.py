"""The paper's synthetic experiment to the letter (O'Malley, arXiv:2601.04941), as its published code runs it.

Its protocol is not matcard's: no validation part, a split that is not stratified and the same for every seed, a scaler
that has seen the test part, and the epoch that is best on the test part. It is repeated here to see whether the
published figures are found again, and for nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from matcard.evaluation.confusion import AVERAGES, Counts, confusion_matrix
from matcard.invariants import magnitude, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Float32, Int, Int64, Shaped
    from torch import Tensor

SPLIT_SEED = 42
HIDDEN, BATCH, LEARNING_RATE = 32, 32, 0.01


class Parts(NamedTuple):
    """Rows and classes of the training and the test part."""

    x_train: Float32[np.ndarray, "n F"]
    x_test: Float32[np.ndarray, "m F"]
    y_train: Int64[np.ndarray, " n"]
    y_test: Int64[np.ndarray, " m"]


def make_parts(rows: Shaped[np.ndarray, "N F"], classes: Int64[np.ndarray, " N"]) -> Parts:
    """Scale all rows together, and keep 30 % of them for testing."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(rows.astype(np.float64)).astype(np.float32)
    return Parts(*train_test_split(scaled, classes, test_size=0.3, random_state=SPLIT_SEED))


def _errors(logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, "N C"]:
    return nn.functional.one_hot(targets, logits.shape[-1]) - logits.softmax(dim=-1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "magnitude": lambda logits, targets: magnitude(_errors(logits.double(), targets), origin=True) - 1,
    "cross_entropy": nn.functional.cross_entropy,
    "spread": lambda logits, targets: spread(_errors(logits.double(), targets), origin=True) - 1,
    "mse": lambda logits, targets: _errors(logits, targets).square().mean(),
}
"""Losses of the experiment; magnitude and spread at t = 1, the mean of squares over samples and classes."""


def train(
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
        for batch in torch.from_numpy(draws.permutation(len(y))).split(BATCH):  # type: ignore[no-untyped-call]
            gradients = torch.autograd.grad(LOSSES[loss](network(x[batch]), y[batch]), weights)
            with torch.no_grad():
                torch._foreach_add_(weights, gradients, alpha=-LEARNING_RATE)
        with torch.no_grad():
            last = network(x_test).double().softmax(dim=1).numpy()
        counts = Counts.of(confusion_matrix(parts.y_test, last.argmax(axis=1), classes))
        if (score := float(AVERAGES["macro_f1"].of(counts))) > best_score:
            best, best_score, best_epoch = last, score, epoch
    return best, last, best_epoch
