"""Graphs out of the flat arrays, one at a time and as batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from graph_cases import FCC, LONELY, ROCK_SALT, crystals_of, edges_of, random_crystals
from torch_geometric.data import Batch, Data

from matcard.graphs import graphs as graphs_module
from matcard.graphs.graphs import Graphs, build_graphs
from matcard.graphs.neighbors import GraphOptions

NAMES = [field.name for field in dataclasses.fields(Graphs) if field.name != "folder"]


@pytest.fixture(scope="module")
def graphs():
    crystals = type(crystals_of()).concatenate([random_crystals(10), crystals_of(LONELY, FCC, ROCK_SALT)])
    return build_graphs(crystals, GraphOptions())


def same_graphs(a: Graphs, b: Graphs) -> None:
    for name in NAMES:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)


def data_of(graphs: Graphs, index: int) -> Data:
    """One crystal as torch_geometric has it, out of the arrays."""
    atoms, edges = (slice(*ends[index : index + 2]) for ends in (graphs.node_offsets, graphs.edge_offsets))
    arrays = {"z": graphs.numbers[atoms].astype(np.int64), "distance": graphs.distance[edges]}
    ends = np.stack([graphs.source[edges], graphs.target[edges]]).astype(np.int64)
    arrays |= {"edge_index": ends}
    return Data(num_nodes=atoms.stop - atoms.start, **{name: torch.tensor(array) for name, array in arrays.items()})


def test_one_graph(graphs):
    batch = graphs.batch([11])
    assert batch.z.tolist() == [29]
    assert batch.edge_index.dtype == torch.int64
    assert batch.distance.dtype == torch.float32
    rows = zip(
        batch.edge_index[1].tolist(),
        batch.edge_index[0].tolist(),
        batch.distance.tolist(),
        strict=True,
    )
    assert list(rows) == [(t, s, d) for t, s, _, d in edges_of(graphs, 11)]


def test_an_isolated_atom_is_a_graph(graphs):
    batch = graphs.batch([10])
    assert (len(batch), len(batch.z), batch.edge_index.shape) == (1, 1, (2, 0))


@pytest.mark.parametrize("indices", [[3], [0, 1, 2, 3], [12, 0, 10, 7], [5, 5, 10, 10, 5], [10], list(range(13))])
def test_a_batch_is_what_torch_geometric_makes_of_its_graphs(graphs, indices):
    batch = graphs.batch(indices)
    expected = Batch.from_data_list([data_of(graphs, i % 13) for i in indices])
    assert len(batch) == expected.num_graphs == len(indices)
    for name in ("z", "edge_index", "distance", "batch", "ptr"):
        found, wanted = getattr(batch, name), expected[name]
        assert found.dtype == wanted.dtype
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert (batch.edge_index[1].diff() >= 0).all()


def test_a_batch_moves_between_devices(graphs):
    batch = graphs.batch(np.array([2, 12])).to("meta")
    given = {name: value for name, value in vars(batch).items() if value is not None}
    assert sorted(given) == ["batch", "distance", "edge_index", "ptr", "z"]
    assert {value.device.type for value in given.values()} == {"meta"}
    assert len(batch) == 2


def test_writing_to_a_batch_leaves_the_graphs_alone(graphs):
    before = graphs.distance.copy()
    graphs.batch([0, 1]).distance.zero_()
    np.testing.assert_array_equal(graphs.distance, before)


def test_an_empty_batch(graphs):
    batch = graphs.batch([])
    assert (len(batch), len(batch.z), batch.edge_index.shape) == (0, 0, (2, 0))
    assert len(build_graphs(crystals_of(), GraphOptions()).batch([])) == 0


@pytest.mark.parametrize("index", [13, -14])
def test_a_crystal_that_is_not_there(graphs, index):
    with pytest.raises(IndexError, match=f"crystal {index} was asked for, there are 13"):
        graphs.batch([0, index])


def test_types(graphs):
    types = {name: getattr(graphs, name).dtype.str for name in NAMES}
    assert types == {
        "numbers": "|u1",
        "node_offsets": "<i8",
        "edge_offsets": "<i8",
        "source": "<i4",
        "target": "<i4",
        "distance": "<f4",
        "image": "|i1",
        "truncated": "<i4",
        "short": "<i4",
        "isolated": "<i4",
    }


@pytest.mark.parametrize("chunk_atoms", [1, 7, 10**6])
def test_chunks_are_joined_without_a_trace(monkeypatch, chunk_atoms):
    crystals = random_crystals(15)
    expected = build_graphs(crystals, GraphOptions(ties="cut", neighbors=9))
    monkeypatch.setattr(graphs_module, "CHUNK_ATOMS", chunk_atoms)
    seen = []
    found = build_graphs(
        crystals,
        GraphOptions(ties="cut", neighbors=9),
        progress=lambda done, total: seen.append((done, total)),
    )
    same_graphs(found, expected)
    assert seen == sorted(seen)
    assert seen[-1] == (15, 15)


def test_two_processes_build_what_one_builds(monkeypatch):
    monkeypatch.setattr(graphs_module, "CHUNK_ATOMS", 10)
    crystals = random_crystals(12)
    same_graphs(build_graphs(crystals, GraphOptions(), jobs=2), build_graphs(crystals, GraphOptions()))
