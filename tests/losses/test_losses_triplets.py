"""Mining: what is drawn is valid, uniform and repeatable."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import made

from matcard.losses.cardinality import seeded
from matcard.losses.triplets import mine_triplets, triplet_loss


@given(targets=st.lists(st.sampled_from([0, 1, 5]), min_size=1, max_size=30), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("anchors", ["all", "class-aware"])
def test_triplets_are_valid_and_every_anchor_that_can_has_one(anchors, targets, seed) -> None:
    y = torch.tensor(targets)
    a, p, n = mine_triplets(y, seeded(seed), anchors)
    assert (a != p).all()
    assert (y[a] == y[p]).all()
    assert (y[a] != y[n]).all()
    able = [i for i, label in enumerate(targets) if 2 <= targets.count(label) < len(targets)]
    assert len(a) == len(able)
    assert set(a.tolist()) <= set(able)
    if anchors == "all":
        assert sorted(a.tolist()) == able


@pytest.mark.parametrize("targets", [[], [0], [0, 1, 2], [3, 3, 3]])
@pytest.mark.parametrize("anchors", ["all", "class-aware"])
def test_batches_without_a_triplet_give_none(targets, anchors) -> None:
    assert all(len(rows) == 0 for rows in mine_triplets(torch.tensor(targets, dtype=torch.long), seeded(0), anchors))


def test_positives_and_negatives_are_uniform() -> None:
    y = torch.tensor([0, 1, 0, 1, 0, 2, 2])
    rounds = 1500
    counts = np.zeros((2, 7, 7))
    for step in range(rounds):
        a, p, n = mine_triplets(y, seeded(1, step))
        counts[0][a, p] += 1
        counts[1][a, n] += 1
    for i, label in enumerate(y.tolist()):
        same = [j for j in range(7) if y[j] == label and j != i]
        other = [j for j in range(7) if y[j] != label]
        for table, choices in zip(counts, (same, other), strict=True):
            share = 1 / len(choices)
            spread = 4.5 * math.sqrt(share * (1 - share) / rounds)
            assert np.abs(table[i, choices] / rounds - share).max() <= spread


def test_class_aware_anchors_draw_classes_equally_and_members_uniformly() -> None:
    y = torch.tensor([0] * 18 + [1] * 2)
    drawn = torch.cat([mine_triplets(y, seeded(2, step), "class-aware").anchors for step in range(500)])
    assert (y[drawn] == 1).double().mean().item() == pytest.approx(0.5, abs=0.02)
    members = drawn[y[drawn] == 0].bincount(minlength=18)[:18].double()
    assert (members / members.sum() * 18 - 1).abs().max() < 0.25


def test_seed_epoch_and_step_decide_the_draws() -> None:
    y, h = torch.arange(40) % 4, torch.randn(40, 5, generator=seeded(9))
    z = torch.zeros(40, 4)

    def steps(loss, epoch: int, count: int = 3) -> list[float]:
        loss.on_epoch(epoch, 5)
        return [loss(z, y, h).item() for _ in range(count)]

    options = {"name": "triplet", "combine": "divide"}
    whole = made("spread", seed=3, **options)
    first, second = steps(whole, 0), steps(whole, 1)
    assert len({*first, *second}) == 6
    resumed = made("spread", seed=3, **options)
    assert steps(resumed, 1) == second
    assert steps(made("spread", seed=4, **options), 0) != first


def test_validation_draws_always_the_same_and_disturbs_no_training() -> None:
    y, h, z = torch.arange(40) % 4, torch.randn(40, 5, generator=seeded(9)), torch.zeros(40, 4)
    loss, undisturbed = (made("spread", seed=3, name="triplet", combine="ratio") for _ in range(2))
    undisturbed(z, y, h)
    expected = undisturbed(z, y, h).item()
    loss(z, y, h)
    loss.eval()
    assert loss(z, y, h).item() == loss(z, y, h).item()
    loss.train()
    assert loss(z, y, h).item() == expected


@pytest.mark.parametrize("combine", ["add", "divide", "multiply", "ratio"])
@pytest.mark.parametrize("targets", [[0, 1, 2], [1, 1, 1]])
def test_a_batch_without_a_triplet_adds_zero_and_keeps_the_graph(combine, targets) -> None:
    loss = made("magnitude", name="triplet", combine=combine, lambda_base=0.0)
    h = torch.randn(3, 4, requires_grad=True)
    result = loss(torch.zeros(3, 3), torch.tensor(targets), h)
    result.backward()
    assert result.item() == 0
    assert (h.grad == 0).all()
    assert loss.logged()["triplets"] == 0


def test_the_base_of_triplets_is_the_mean_log_sigmoid_of_the_margin() -> None:
    a, p, n = (torch.nn.functional.normalize(torch.randn(5, 3, generator=seeded(i))) for i in range(3))
    margins = [(float(x @ y) - float(x @ z)) / 0.3 for x, y, z in zip(a, p, n, strict=True)]
    expected = np.mean([-math.log(1 / (1 + math.exp(-m))) for m in margins])
    assert triplet_loss(a, p, n, 0.3).item() == pytest.approx(expected, rel=1e-5)
