"""Effective numbers: class counts from embeddings, kept through an epoch and over a resumed run."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from loss_cases import INVARIANTS, cross_entropy, made, unit

from matcard.losses import build_loss
from matcard.losses.cardinality import seeded
from matcard.losses.effective_number import Reservoir

RNG = np.random.default_rng(5)
LOGITS = RNG.normal(size=(12, 3))
EMBEDDINGS = RNG.normal(size=(12, 4))
TARGETS = np.array([0] * 7 + [1] * 3 + [2] * 2)
COUNTS = [70, 30, 20]
OPTIONS = {"name": "effective_number", "scale": 2.0}


def batches(size: int = 5):
    for start in range(0, 12, size):
        rows = slice(start, start + size)
        yield torch.tensor(LOGITS[rows]), torch.tensor(TARGETS[rows]), torch.tensor(EMBEDDINGS[rows])


def epoch(loss, number: int) -> list[float]:
    loss.on_epoch(number, 4)
    return [loss(*batch).item() for batch in batches()]


@pytest.mark.parametrize("name", INVARIANTS)
@pytest.mark.parametrize("base", ["weighted_cross_entropy", "class_balanced", "logit_adjustment"])
def test_numbers_of_one_epoch_are_the_counts_of_the_next(name, base) -> None:
    loss = made(name, class_counts=COUNTS, base=base, **OPTIONS)
    raw = build_loss(base, class_counts=COUNTS)
    assert epoch(loss, 0) == epoch(raw, 0)
    numbers = [INVARIANTS[name](unit(EMBEDDINGS[c == TARGETS]), 2.0) for c in range(3)]
    second = epoch(loss, 1)
    np.testing.assert_allclose([loss.logged()[f"number_{c}"] for c in range(3)], numbers, rtol=1e-6)
    z, y, _ = next(batches())
    losses = cross_entropy(z.numpy(), y.numpy())
    n = np.array(numbers)
    if base == "logit_adjustment":
        expected = cross_entropy(z.numpy() + np.log(n / n.sum()), y.numpy()).mean()
    elif base == "weighted_cross_entropy":
        weights = (1 / n)[y.numpy()]
        expected = (weights * losses).sum() / weights.sum()
    else:
        weights = 1 / (1 - 0.999**n)
        expected = ((weights * 3 / weights.sum())[y.numpy()] * losses).mean()
    assert second[0] == pytest.approx(expected, rel=1e-5)


def test_copies_of_a_crystal_do_not_raise_the_number() -> None:
    loss = made("magnitude", class_counts=COUNTS, base="class_balanced", **OPTIONS)
    loss.on_epoch(0, 2)
    h = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]] * 2)
    y = torch.tensor([0] * 9 + [1] * 2)
    loss(torch.zeros(11, 3), y, h)
    loss.on_epoch(1, 2)
    # One crystal, one crystal, and a class that was not seen.
    torch.testing.assert_close(loss.base.class_counts, torch.ones(3))


def test_embeddings_of_older_epochs_are_forgotten() -> None:
    loss = made("magnitude", class_counts=COUNTS, base="class_balanced", **OPTIONS)
    z, h, y = torch.zeros(4, 3), torch.eye(4), torch.zeros(4, dtype=torch.long)
    for number, embeddings in enumerate((h, h[:1].expand(4, 4))):
        loss.on_epoch(number, 3)
        loss(z, y, embeddings)
    loss.on_epoch(2, 3)
    torch.testing.assert_close(loss.base.class_counts, torch.ones(3))


def test_a_run_that_resumes_between_epochs_goes_on_the_same() -> None:
    def fresh():
        return made("magnitude", class_counts=COUNTS, seed=3, base="class_balanced", reservoir=4, **OPTIONS)

    whole = fresh()
    epoch(whole, 0)
    epoch(whole, 1)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    expected = epoch(whole, 2)
    file.seek(0)
    resumed = fresh()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert epoch(resumed, 2) == expected


def test_validation_adds_nothing() -> None:
    loss = made("spread", class_counts=COUNTS, base="class_balanced", **OPTIONS).eval()
    epoch(loss, 0)
    loss.on_epoch(1, 4)
    assert loss.base.class_counts.tolist() == COUNTS


def test_the_median_scale_looks_at_a_sample() -> None:
    options = {**OPTIONS, "scale": "median"}
    loss = made("magnitude", class_counts=COUNTS, base="class_balanced", **options)
    epoch(loss, 0)
    epoch(loss, 1)
    numbers = [loss.logged()[f"number_{c}"] for c in range(3)]
    assert all(1 < number <= count for number, count in zip(numbers, [7, 3, 2], strict=True))


def test_a_reservoir_keeps_a_bounded_uniform_sample_of_each_class() -> None:
    drawn = np.zeros(40)
    rounds = 600
    for step in range(rounds):
        pool = Reservoir(5)
        for start in range(0, 40, 8):
            index = torch.arange(start, start + 8)
            pool.add(index[:, None].double(), (index >= 38).long(), seeded(step, start))
        kept = pool.rows[:, 0].long().numpy()
        assert np.bincount(pool.targets).tolist() == [5, 2]
        drawn[kept] += 1
    assert (drawn[38:] == rounds).all()
    share = 5 / 38
    assert np.abs(drawn[:38] / rounds - share).max() < 4.5 * (share * (1 - share) / rounds) ** 0.5


def test_the_sample_does_not_depend_on_the_seed_of_torch() -> None:
    pools = []
    for manual in (0, 1):
        torch.manual_seed(manual)
        pool = Reservoir(3)
        pool.add(torch.tensor(EMBEDDINGS), torch.tensor(TARGETS), seeded(8))
        pools.append(pool.rows)
    torch.testing.assert_close(pools[0], pools[1])
