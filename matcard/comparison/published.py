"""The paper's synthetic experiment to the letter (O'Malley, arXiv:2601.04941), as its published code runs it.

Its protocol is not matcard's: no validation part, a split that is not stratified, a scaler that has seen the test
part, and the epoch that is best on the test part. It is repeated here to see whether the published figures are found
again, and for nothing else. Networks are trained side by side, as one of a leading dimension: losses are sums over
them, so that each has the gradient that it would have alone.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from matcard.errors import InputError, nearest_names
from matcard.evaluation.confusion import AVERAGES, Counts, confusion_matrix
from matcard.evaluation.metrics import classification_metrics
from matcard.invariants import magnitude, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jaxtyping import Float, Float32, Int, Int64
    from torch import Tensor

DATA_SEED, SPLIT_SEED = 2048, 42
CLASSES, HIDDEN, BATCH, LEARNING_RATE = 10, 32, 32, 0.01
FIGURES: dict[str, dict[float, float]] = {
    "magnitude": {0.5: 0.848, 0.8: 0.755, 0.9: 0.683},
    "cross_entropy": {0.5: 0.808, 0.8: 0.691, 0.9: 0.601},
    "spread": {0.5: 0.765, 0.8: 0.615, 0.9: 0.261},
    "mse": {0.5: 0.153, 0.8: 0.114, 0.9: 0.111},
}
"""Macro-F1 by loss and share of the majority class: the final figures of the published code."""


class Parts(NamedTuple):
    """Rows and classes of the training and the test part."""

    x_train: Float32[np.ndarray, "n F"]
    y_train: Int64[np.ndarray, " n"]
    x_test: Float32[np.ndarray, "m F"]
    y_test: Int64[np.ndarray, " m"]


def make_parts(majority: float, samples: int = 10_000) -> Parts:
    """Draw the rows of ten clusters, scale all of them together, and keep 30 % for testing."""
    from sklearn.datasets import make_classification
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    rows, classes = make_classification(
        n_samples=samples,
        n_features=20,
        n_informative=15,
        n_redundant=5,
        n_classes=CLASSES,
        n_clusters_per_class=1,
        weights=[majority] + [(1 - majority) / (CLASSES - 1)] * (CLASSES - 1),
        flip_y=0.01,
        random_state=DATA_SEED,
    )
    scaled = StandardScaler().fit_transform(rows).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(scaled, classes, test_size=0.3, random_state=SPLIT_SEED)
    return Parts(x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64))


def _cross_entropy(logits: Float[Tensor, "S N C"], targets: Int[Tensor, "S N"]) -> Float[Tensor, ""]:
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()) * len(logits)


def _mse(logits: Float[Tensor, "S N C"], targets: Int[Tensor, "S N"]) -> Float[Tensor, ""]:
    """Mean over samples and classes of the squared error of the probabilities."""
    return _errors(logits, targets).square().mean() * len(logits)


def _magnitude(logits: Float[Tensor, "S N C"], targets: Int[Tensor, "S N"]) -> Float[Tensor, ""]:
    return (magnitude(_errors(logits.double(), targets), origin=True) - 1).sum()


def _spread(logits: Float[Tensor, "S N C"], targets: Int[Tensor, "S N"]) -> Float[Tensor, ""]:
    return (spread(_errors(logits.double(), targets), origin=True) - 1).sum()


def _errors(logits: Float[Tensor, "S N C"], targets: Int[Tensor, "S N"]) -> Float[Tensor, "S N C"]:
    return nn.functional.one_hot(targets, logits.shape[-1]) - logits.softmax(dim=-1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "magnitude": _magnitude,
    "cross_entropy": _cross_entropy,
    "spread": _spread,
    "mse": _mse,
}
"""Losses of the experiment, each the sum over S networks of the loss of a batch; magnitude and spread at t = 1."""


class Networks:
    """S networks of 20 inputs, 32 hidden units with ReLU and 10 classes, as torch initialises each from its seed."""

    def __init__(self, features: int, seeds: Sequence[int]) -> None:
        layers = [_initialised(features, seed) for seed in seeds]
        stacked = [torch.stack(tensors) for tensors in zip(*layers, strict=True)]
        self.weights = [tensor.requires_grad_() for tensor in stacked]

    def __call__(self, x: Float[Tensor, "S N F"]) -> Float[Tensor, "S N C"]:
        """Give the logits of a batch for each network."""
        w1, b1, w2, b2 = self.weights
        return torch.relu(x @ w1 + b1) @ w2 + b2

    def descend(self, loss: Float[Tensor, ""]) -> None:
        """Take a step of plain gradient descent."""
        gradients = torch.autograd.grad(loss, self.weights)
        with torch.no_grad():
            for weight, gradient in zip(self.weights, gradients, strict=True):
                weight -= LEARNING_RATE * gradient


def _initialised(features: int, seed: int) -> list[Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, second = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, CLASSES)
    tensors = [first.weight.T, first.bias[None], second.weight.T, second.bias[None]]
    return [tensor.detach().clone() for tensor in tensors]


def reproduce(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Train by one loss on several data sets, each from several initialisations.

    Args:
        options: `loss`, `majorities` (name of a data set -> share of its majority class), `seeds` (of the
            initialisations), `epochs`, `samples`.

    Returns:
        for each data set and initialisation the metrics of the epoch with the best macro-F1 on the test part, those of
        the last epoch, and the number of that best epoch.

    Raises:
        InputError: an unknown loss.
    """
    name, seeds = str(options["loss"]), list(options["seeds"])
    if name not in LOSSES:
        raise InputError(f"loss {name!r} is not in the published experiment; {nearest_names(name, LOSSES)}")
    began = time.perf_counter()
    parts = [make_parts(share, int(options["samples"])) for share in options["majorities"].values()]
    x, y, x_test = (torch.from_numpy(np.stack([getattr(part, of) for part in parts])) for of in Parts._fields[:3])
    place = torch.arange(len(parts)).repeat_interleave(len(seeds))[:, None]  # data set of each network
    networks = Networks(x.shape[-1], seeds * len(parts))
    draws = [np.random.default_rng(seed) for _ in parts for seed in seeds]
    best = [_Best() for _ in draws]
    for epoch in range(int(options["epochs"])):
        order = torch.from_numpy(np.stack([rng.permutation(y.shape[1]) for rng in draws]))
        for batch in torch.split(order, BATCH, dim=1):
            networks.descend(LOSSES[name](networks(x[place, batch]), y[place, batch]))
        with torch.no_grad():
            logits = networks(x_test[place[:, 0]]).double().numpy()
        for k, one in enumerate(logits):
            best[k].look(epoch, parts[k // len(seeds)].y_test, one)
    seconds = (time.perf_counter() - began) / len(draws)
    return [
        {"task": task, "seed": seed, "seconds": seconds, **best[k * len(seeds) + i].record(parts[k])}
        for k, task in enumerate(options["majorities"])
        for i, seed in enumerate(seeds)
    ]


class _Best:
    """Remembers the logits of the test part in the epoch with the best macro-F1 on it, and those of the last."""

    def __init__(self) -> None:
        self._score, self._epoch = -math.inf, -1

    def look(self, epoch: int, targets: Int64[np.ndarray, " m"], logits: Float[np.ndarray, "m C"]) -> None:
        score = float(AVERAGES["macro_f1"].of(Counts.of(confusion_matrix(targets, logits.argmax(axis=1), CLASSES))))
        self._last = logits
        if score > self._score:
            self._score, self._epoch, self._logits = score, epoch, logits

    def record(self, parts: Parts) -> dict[str, Any]:
        """Give all metrics of both epochs."""
        counts = np.bincount(parts.y_train, minlength=CLASSES)
        at_best, at_end = (
            classification_metrics(
                parts.y_test,
                softmax(logits, axis=1),
                class_names=[str(c) for c in range(CLASSES)],
                train_counts=counts,
            )
            for logits in (self._logits, self._last)
        )
        return {
            "best_epoch": self._epoch,
            "sizes": {"train": len(parts.y_train), "val": 0, "test": len(parts.y_test)},
            "train_counts": {str(c): count for c, count in enumerate(counts.tolist())},
            "test": {"argmax": at_best},
            "last_epoch": {"argmax": at_end},
        }
