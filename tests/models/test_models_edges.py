"""The fast parts of the convolution, each against the slow way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import crystal, join, random_batch, slow_sum, small
from torch.autograd import gradcheck

from matcard.models import crystal as edges_module
from matcard.models.cpu.edge_moments import BasisMoments, EdgeMoments, GatedSum
from matcard.models.crystal import NEGLIGIBLE, Edges, GaussianBasis, segment_sum

EXTREME = 40.0
"""Terms of this size drive sigmoids of float32 below the smallest number."""


@pytest.fixture(params=[10**6, 7], ids=["one block", "many blocks"])
def block_edges(request, monkeypatch):
    monkeypatch.setattr(edges_module, "BLOCK_EDGES", request.param)


def numbers(edges: Edges, width: int, gaussians: int, seed: int, size: float = 1.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    terms = size * torch.randn(2 * edges.num_atoms, 2 * width, generator=generator, dtype=torch.float64)
    weight = torch.randn(2 * width, gaussians, generator=generator, dtype=torch.float64)
    basis = torch.rand(len(edges.source), gaussians, generator=generator, dtype=torch.float64)
    return terms, weight, basis


@pytest.mark.usefixtures("block_edges")
@given(seed=st.integers(0, 1000), isolated=st.integers(0, 2), size=st.sampled_from([1.0, EXTREME]))
@settings(deadline=None, max_examples=15)
def test_gated_sums_in_a_loop(seed, isolated, size):
    edges = Edges.of(random_batch(3, seed, num_neighbors=3, isolated=isolated))
    terms, weight, basis = numbers(edges, 3, 4, seed, size)
    actual = GatedSum.apply(terms, weight, basis, edges)
    torch.testing.assert_close(actual, slow_sum(terms, weight, basis, edges), atol=1e-9, rtol=1e-9)
    rough = GatedSum.apply(terms.float(), weight.float(), basis.float(), edges)
    torch.testing.assert_close(rough.double(), actual, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("block_edges")
@pytest.mark.parametrize("size", [1.0, EXTREME])
def test_gradients_of_gated_sums(size):
    edges = Edges.of(random_batch(3, num_neighbors=3, isolated=1))
    terms, weight, basis = numbers(edges, 3, 4, 0, size)
    assert gradcheck(lambda t, w: GatedSum.apply(t, w, basis, edges), [terms.requires_grad_(), weight.requires_grad_()])


def test_softplus_beyond_the_smallest_number():
    """softplus(c) = c for c = 100, 200, where float32's sigmoid(-c) is 0, with gradient 1."""
    edges = Edges.of(join([crystal(1, 1, torch.Generator())]))
    for value in (20.0, 80.0, 100.0, 200.0):
        terms = torch.tensor([[50.0, -value], [0.0, 0.0]], requires_grad=True)
        total = GatedSum.apply(terms, torch.zeros(2, 1), torch.zeros(1, 1), edges)
        total.sum().backward()
        assert total.item() == pytest.approx(value, rel=1e-6)
        assert terms.grad[0, 1].item() == pytest.approx(-1.0, rel=1e-6)


def slow_rows(atoms: torch.Tensor, basis: torch.Tensor, edges: Edges) -> torch.Tensor:
    return torch.cat([atoms[edges.target], atoms[edges.source], basis], 1).double()


@pytest.mark.usefixtures("block_edges")
@given(seed=st.integers(0, 1000), isolated=st.integers(0, 2), shift=st.sampled_from([0.0, 100.0]))
@settings(deadline=None, max_examples=15)
def test_moments_are_those_of_the_rows(seed, isolated, shift):
    edges = Edges.of(random_batch(3, seed, num_neighbors=3, isolated=isolated))
    generator = torch.Generator().manual_seed(seed)
    atoms = shift + torch.randn(edges.num_atoms, 3, generator=generator)
    basis = torch.rand(len(edges.source), 2, generator=generator)
    mean, covariance = EdgeMoments.apply(atoms, edges, BasisMoments.of(basis, edges))
    rows = slow_rows(atoms, basis, edges)
    torch.testing.assert_close(mean, rows.mean(0), atol=1e-6, rtol=1e-7)
    torch.testing.assert_close(covariance, torch.cov(rows.t(), correction=0), atol=1e-6, rtol=1e-5)


def test_gradients_of_moments():
    edges = Edges.of(random_batch(3, num_neighbors=3, isolated=1))
    atoms = torch.randn(edges.num_atoms, 3, dtype=torch.float64, requires_grad=True)
    moments = BasisMoments.of(torch.rand(len(edges.source), 2, dtype=torch.float64), edges)
    assert gradcheck(lambda a: EdgeMoments.apply(a, edges, moments), [atoms])


def test_edges_are_sorted_where_they_are_not():
    batch = random_batch()
    order = torch.randperm(len(batch.distance), generator=torch.Generator().manual_seed(0))
    mixed = batch.clone()
    mixed.edge_index, mixed.distance = batch.edge_index[:, order], batch.distance[order]
    edges = Edges.of(mixed)
    assert bool((edges.target.diff() >= 0).all())
    assert sorted(zip(*map(torch.Tensor.tolist, (edges.source, edges.target, edges.distance)), strict=True)) == sorted(
        zip(*batch.edge_index.tolist(), batch.distance.tolist(), strict=True)
    )


@pytest.mark.parametrize("limit", [1, 7, 30, 10**6])
def test_blocks_are_whole_crystals_and_cover_the_batch(monkeypatch, limit):
    monkeypatch.setattr(edges_module, "BLOCK_EDGES", limit)
    edges = Edges.of(random_batch(9, isolated=1))
    blocks = edges.blocks
    assert [block.atoms.start for block in blocks] == [0] + [block.atoms.stop for block in blocks[:-1]]
    assert [block.edges.start for block in blocks] == [0] + [block.edges.stop for block in blocks[:-1]]
    assert (blocks[-1].atoms.stop, blocks[-1].edges.stop) == (edges.num_atoms, len(edges.source))
    for block in blocks:
        assert {block.atoms.start, block.atoms.stop} <= set(edges.ptr.tolist())
        count = block.edges.stop - block.edges.start
        crystals = edges.ptr.tolist().index(block.atoms.stop) - edges.ptr.tolist().index(block.atoms.start)
        assert count <= limit or crystals == 1


def test_segments_sum_in_any_order_and_empty_ones_are_zero():
    rows = torch.randn(5, 3)
    order, pointer = torch.tensor([4, 0, 0, 2]), torch.tensor([0, 0, 1, 4, 4])
    expected = torch.stack([torch.zeros(3), rows[4], 2 * rows[0] + rows[2], torch.zeros(3)])
    torch.testing.assert_close(segment_sum(rows, order, pointer), expected)


def test_gaussians_at_all_centres():
    basis = GaussianBasis(small(dmin=0.5, dmax=3.0, step=0.25, var=0.4))
    assert basis.centres.tolist() == pytest.approx([0.5 + 0.25 * k for k in range(11)])
    distance = torch.tensor([0.1, 1.7, 2.9])
    expected = [[math.exp(-(((d - c) / 0.4) ** 2)) for c in basis.centres.tolist()] for d in distance.tolist()]
    torch.testing.assert_close(basis(distance), torch.tensor(expected), atol=1e-6, rtol=1e-5)


@given(st.lists(st.floats(0.0, 20.0, width=32), max_size=5))
@settings(deadline=None, max_examples=50)
def test_centres_that_are_not_reached_have_no_value(distances):
    basis = GaussianBasis(small())
    distance = torch.tensor(distances, dtype=torch.float32)
    reached, whole = basis.reached(distance), basis(distance)
    rest = torch.ones(len(basis.centres), dtype=torch.bool)
    rest[reached] = False
    assert not whole[:, rest].any()
    assert torch.equal(basis(distance, reached), whole[:, reached])
    assert bool(((whole == 0) | (whole >= NEGLIGIBLE)).all())


def test_the_default_basis_has_the_originals_41_centres():
    assert len(GaussianBasis(small()).centres) == 41
    assert GaussianBasis(small()).centres[-1].item() == pytest.approx(8.0)


def test_on_other_devices_edges_are_not_looked_at():
    batch = random_batch().to("meta")  # whose values cannot be looked at
    assert Edges.of(batch).target.shape == batch.edge_index[1].shape
