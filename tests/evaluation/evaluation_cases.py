"""Predictions to test on: drawn ones with ties, zeros and absent classes, and ones that look like a run's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from matcard.evaluation.decision import by_cost


@st.composite
def predictions(draw, max_classes=5, max_samples=25):
    """Draw targets (n,) and probabilities (n, C) in coarse steps: ties, zeros and ones are common."""
    num_classes = draw(st.integers(2, max_classes))
    n = draw(st.integers(1, max_samples))
    targets = draw(hnp.arrays(np.int64, n, elements=st.integers(0, num_classes - 1)))
    weights = draw(hnp.arrays(np.int64, (n, num_classes), elements=st.integers(0, 5)))
    weights[weights.sum(axis=1) == 0] = 1
    return targets, weights / weights.sum(axis=1, keepdims=True)


def imbalanced(n=400, num_classes=4, seed=0, signal=1.5):
    """Give targets with class shares falling by half, informed probabilities, and training counts."""
    rng = np.random.default_rng(seed)
    shares = 0.5 ** np.arange(num_classes)
    shares /= shares.sum()
    targets = rng.choice(num_classes, n, p=shares)
    logits = rng.normal(size=(n, num_classes)) + np.log(shares)
    logits[np.arange(n), targets] += signal
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return targets, probabilities, np.round(1000 * shares).astype(int)


def names(num_classes):
    """Give class names."""
    return [f"phase {index}" for index in range(num_classes)]


def at_threshold(class_names, threshold):
    """Give the decision for class 1 of two where its probability is above the threshold."""
    return replace(by_cost(class_names, [[0, threshold], [1 - threshold, 0]]), rule=f"threshold {threshold:g}")
