"""Batches: what each rank gets, and that an order is a function of seed and epoch."""

from __future__ import annotations

from functools import partial
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.data.draws import EpochSampler, by_class
from matcard.data.splits import Split
from matcard.training.batches import DataModule, GlobalBatches
from matcard.training.options import Config, TrainerOptions


def batches(size: int, batch_size: int, rank: int, ranks: int, epoch: int = 0) -> list[list[int]]:
    sampler = EpochSampler(size, partial(by_class, np.zeros(size, int), "shuffle"), seed=3)
    sampler.set_epoch(epoch)
    given_batches = GlobalBatches(sampler, np.arange(100, 100 + size), batch_size, rank, ranks)
    drawn = list(given_batches)
    assert len(drawn) == len(given_batches)
    return drawn


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 3))
def test_ranks_share_every_batch(size, batch_size, ranks):
    size = max(size, 2 * ranks)
    shares = [batches(size, batch_size, rank, ranks) for rank in range(ranks)]
    order = list(chain(*batches(size, size, 0, 1)))
    assert len({len(share) for share in shares}) == 1, "every rank takes as many steps"
    for parts in zip(*shares, strict=True):
        sizes = [len(part) for part in parts]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
        batch, order = order[: sum(sizes)], order[sum(sizes) :]
        assert sorted(chain(*parts)) == sorted(batch), "the ranks hold what comes next in the order"
    assert not order


def test_a_last_batch_of_one_joins_the_one_before():
    assert [len(batch) for batch in batches(9, 4, 0, 1)] == [4, 5]
    assert [len(batch) for batch in batches(10, 4, 0, 1)] == [4, 4, 2]


def test_the_order_is_of_seed_and_epoch():
    assert batches(20, 4, 0, 1, epoch=5) == batches(20, 4, 0, 1, epoch=5)
    assert batches(20, 4, 0, 1, epoch=5) != batches(20, 4, 0, 1, epoch=6)


class Positions:
    """A data set whose batch is the positions it was asked for."""

    def __getitems__(self, indices: list[int]) -> list[int]:
        return indices


@pytest.fixture
def module() -> DataModule:
    codes = np.array([0, 0, 0, 1, 1, 2, 0, 1, 2, 0])
    split = Split(np.array([0, 1, 3, 5, 6]), np.array([2, 4, 8]), np.array([7, 9]), kind="given", seed=0)
    parts = {"split": split, "codes": codes, "class_names": ("a", "b", "c"), "unlabelled": None}
    labelled = SimpleNamespace(dataset=Positions(), **parts)
    return DataModule(labelled, Config(trainer=TrainerOptions(batch_size=2)))


def test_counts_are_of_the_training_part(module):
    assert module.class_counts.tolist() == [3, 1, 1]
    assert module.count("test").tolist() == [1, 1, 0]


def test_evaluation_takes_every_sample_once_in_order(module):
    assert [list(batch) for batch in module.eval_dataloader("val")] == [[2, 4], [8]]
    shares = [[i for batch in module.eval_dataloader("val", rank, 2) for i in batch] for rank in range(2)]
    assert shares == [[2, 8], [4]]


def test_training_takes_the_training_part(module):
    assert sorted(i for batch in module.train_dataloader() for i in batch) == [0, 1, 3, 5, 6]
