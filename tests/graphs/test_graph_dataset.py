"""Whole batches through torch's loader."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_cases import random_crystals
from torch.utils.data import DataLoader

from matcard.errors import InputError
from matcard.graphs.graphs import GraphDataset, build_graphs
from matcard.graphs.neighbors import GraphOptions


@pytest.fixture(scope="module")
def graphs():
    return build_graphs(random_crystals(11), GraphOptions())


def loader(dataset, **options):
    order = [3, 10, 0, 7, 1, 9, 2, 8, 6, 4, 5]
    return DataLoader(dataset, batch_size=4, sampler=order, collate_fn=dataset.collate, **options)


@pytest.mark.parametrize("targets", [np.arange(11) % 3, torch.linspace(0, 1, 11)])
def test_an_epoch_gives_every_crystal_once_with_its_target(graphs, targets):
    batches = list(loader(GraphDataset(graphs, targets)))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    index = torch.cat([batch.index for batch in batches])
    assert index.tolist() == [3, 10, 0, 7, 1, 9, 2, 8, 6, 4, 5]
    assert torch.equal(torch.cat([batch.y for batch in batches]), torch.as_tensor(targets)[index])
    for batch in batches:
        expected = graphs.batch(batch.index.tolist())
        assert torch.equal(batch.z, expected.z)
        assert torch.equal(batch.edge_index, expected.edge_index)


def test_without_targets_there_is_no_y(graphs):
    batch = next(iter(loader(GraphDataset(graphs))))
    assert batch.y is None
    assert batch.index.dtype == torch.int64


def test_one_item_is_a_batch_of_one(graphs):
    batch = GraphDataset(graphs, np.arange(11))[7]
    assert (len(batch), batch.index.tolist(), batch.y.tolist()) == (1, [7], [7])


def test_a_worker_gives_the_same_batches(graphs):
    dataset = GraphDataset(graphs, np.arange(11))
    here, there = list(loader(dataset)), list(loader(dataset, num_workers=1, multiprocessing_context="fork"))
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.distance, b.distance)


def test_a_wrong_number_of_targets_is_refused(graphs):
    with pytest.raises(InputError, match="10 targets for 11 graphs"):
        GraphDataset(graphs, np.arange(10))
