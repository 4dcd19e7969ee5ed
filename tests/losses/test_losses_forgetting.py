"""Why errors alone collapse: what pulls where every sample is given the same probabilities (docs/losses.md)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_cases import excess, made

from matcard.losses import build_loss

RARE = 117
TARGETS = (torch.arange(1000) < RARE).long()
PREDICTED = [0.5, 0.3, 0.117, 0.05, 0.01]
ALONE = {"combine": "add", "lambda_base": 0.0}
"""The invariant without a base, and without the warning of `replace`."""


def share(name: str, predicted: float, **options) -> float:
    """The rare class's share of the gradient, every sample being given the probability `predicted` of it."""
    logits = torch.tensor([1 - predicted, predicted]).double().log().repeat(1000, 1).requires_grad_()
    loss = made(name, **options) if options else build_loss(name)
    loss(logits, TARGETS).backward()
    pull = logits.grad.norm(dim=1)
    return (pull[TARGETS == 1].sum() / pull.sum()).item()


def test_cross_entropy_pulls_back_what_it_forgets() -> None:
    prior = RARE / 1000
    for predicted in PREDICTED:
        rare, common = prior * (1 - predicted), (1 - prior) * predicted
        assert share("cross_entropy", predicted) == pytest.approx(rare / (rare + common))
    assert share("cross_entropy", prior) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_the_magnitude_pulls_the_less_the_more_it_has_forgotten(scale) -> None:
    shares = [share("magnitude", predicted, scale=scale, **ALONE) for predicted in PREDICTED]
    assert shares[0] == pytest.approx(0.5)
    assert all(np.diff(shares) < 0)
    for predicted, found in zip(PREDICTED, shares, strict=True):
        # d tanh(t a / sqrt(2)) / da of the two distinct errors: the larger one has the smaller slope.
        rare, common = (math.cosh(scale * a / math.sqrt(2)) ** -2 for a in (1 - predicted, predicted))
        assert found == pytest.approx(rare / (rare + common))


def test_the_spread_of_many_copies_pulls_neither_way() -> None:
    shares = [share("spread", predicted, scale=1.0, **ALONE) for predicted in PREDICTED]
    assert max(shares) < 0.5
    assert min(shares) > 0.49


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_counts_play_no_part_in_the_magnitude_of_a_constant_prediction(classes) -> None:
    """Every class that all samples could be given is as good as any other, and better than to hesitate."""
    targets = torch.tensor([c for c in range(classes) for _ in range(4**c)])
    loss = made("magnitude", scale=1.0, **ALONE)

    def of(p: torch.Tensor) -> float:
        return loss(p.double().log().expand(len(targets), -1), targets).item()

    corners = [of(row) for row in torch.eye(classes).clamp_min(1e-12)]
    points = np.eye(classes)[1:] - np.eye(classes)[0]
    np.testing.assert_allclose(corners, excess("magnitude", points, 1.0), rtol=1e-6)
    assert of(torch.full((classes,), 1 / classes)) > corners[0]
    assert of(targets.bincount() / len(targets)) > corners[0]
