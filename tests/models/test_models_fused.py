"""The compiled loops over edges, against the slow way and the blocks of torch."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from model_cases import crystal, gradients, join, random_batch, randomize, slow_sum, small

from matcard.models import CGCNN
from matcard.models.cpu.edge_moments import BasisMoments, ExpandedEdges
from matcard.models.crystal import Edges, GaussianBasis

pytest.importorskip("numba", reason="numba is not installed: pip install numba")

from matcard.models.cpu.fused import Band, FusedEdges


def expanded(batch, threads=1, **options):
    """The edges of a batch for either route."""
    basis, edges = GaussianBasis(small(**options)), Edges.of(batch)
    reached = basis.reached(edges.distance)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return ExpandedEdges(edges, basis(edges.distance, reached), reached), FusedEdges.of(basis, edges)
    finally:
        torch.set_num_threads(before)


def dense(band: Band, gaussians: int) -> torch.Tensor:
    values = torch.zeros(len(band.start), gaussians)
    for e, (row, start) in enumerate(zip(band.values, band.start, strict=True)):
        values[e, start : start + len(row)] = torch.from_numpy(row)
    return values


@given(st.lists(st.floats(0.0, 20.0, width=32), min_size=1, max_size=5), st.sampled_from([None, 0.05, 0.7, 5.0]))
@settings(deadline=None, max_examples=50)
def test_a_band_holds_all_of_the_basis(distances, var):
    batch = join([crystal(1, len(distances), torch.Generator())])
    batch.distance = torch.tensor(distances)
    blocks, fused = expanded(batch, var=var)
    assert fused.reached == blocks.reached
    assert torch.equal(dense(fused.band, blocks.basis.shape[1]), blocks.basis)


@pytest.mark.parametrize("threads", [1, 2, 5])
@given(seed=st.integers(0, 1000), isolated=st.integers(0, 2), size=st.sampled_from([1.0, 40.0]))
@settings(deadline=None, max_examples=10)
@example(seed=141, isolated=0, size=40.0)
def test_sums_and_gradients_are_those_of_a_loop(threads, seed, isolated, size):
    batch = random_batch(4, seed, num_neighbors=3, isolated=isolated)
    blocks, fused = expanded(batch, threads)
    generator = torch.Generator().manual_seed(seed)
    terms = (size * torch.randn(2 * blocks.edges.num_atoms, 10, generator=generator)).requires_grad_()
    weight = torch.randn(10, blocks.basis.shape[1], generator=generator, requires_grad=True)
    out = fused.gated_sum(terms, weight)
    wide = [terms.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    expected = slow_sum(*wide, blocks.basis.double(), blocks.edges)
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(fused.gated_sum(terms, weight), out), "what is kept for gradients changes nothing"
    slope = torch.randn(out.shape, generator=generator)
    expected.backward(slope.double())
    errors = []
    for gated_sum in (fused.gated_sum, blocks.gated_sum):
        terms.grad = weight.grad = None
        gated_sum(terms, weight).backward(slope)
        for narrow, exact in zip((terms, weight), wide, strict=True):
            errors.append(float(((narrow.grad.double() - exact.grad).abs() - 2e-5 * exact.grad.abs()).max()))
    # Slopes of numbers of a hundred, which float32 tells apart by 1e-5, are as far off by torch's own operations.
    assert max(errors[:2]) <= max(2e-5, 3 * max(errors[2:]))


@pytest.mark.parametrize("value", [20.0, 80.0, 100.0, 200.0, 1e30])
def test_softplus_of_large_numbers(value):
    _, fused = expanded(join([crystal(1, 1, torch.Generator())]))
    terms = torch.tensor([[50.0, -value], [0.0, 0.0]], requires_grad=True)
    total = fused.gated_sum(terms, torch.zeros(2, fused.reached.stop - fused.reached.start))
    total.sum().backward()
    assert total.item() == pytest.approx(value, rel=1e-6)
    assert terms.grad[0].tolist() == pytest.approx([0.0, -1.0], rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("column", [0, 1])
def test_what_is_not_finite_is_that_of_the_blocks(value, column):
    blocks, fused = expanded(join([crystal(1, 1, torch.Generator())]))
    terms = torch.zeros(2, 2)
    terms[0, column] = value
    weight = torch.zeros(2, blocks.basis.shape[1])
    exact = torch.sigmoid(terms[0, 0]) * torch.nn.functional.softplus(-terms[0, 1])
    torch.testing.assert_close(fused.gated_sum(terms, weight)[0, 0], exact, equal_nan=True)


@pytest.mark.parametrize("threads", [1, 3])
@given(seed=st.integers(0, 1000), isolated=st.integers(0, 2))
@settings(deadline=None, max_examples=10)
def test_moments_are_those_of_the_blocks(threads, seed, isolated):
    blocks, fused = expanded(random_batch(3, seed, num_neighbors=3, isolated=isolated), threads)
    exact = BasisMoments.of(blocks.basis.double(), blocks.edges)
    for ours, theirs in zip(fused.moments, exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_shares_are_whole_crystals_in_order():
    for threads in (1, 2, 3, 50):
        _, fused = expanded(random_batch(9, isolated=1), threads)
        shares, ends = fused.band.shares, fused.edges.ptr.tolist()
        assert len(shares) <= threads
        assert [first for first, _ in shares] == [0] + [last for _, last in shares[:-1]]
        assert shares[-1][1] == fused.edges.num_atoms
        assert all(last in ends for _, last in shares)


def test_training_steps_at_real_widths():
    torch.manual_seed(2)
    model = CGCNN(small(width=64, convolutions=3, hidden=128), 2)
    randomize(model)
    fused = deepcopy(model)
    assert fused.fuse()
    batch = random_batch(12, num_neighbors=9)
    exact = gradients(deepcopy(model).double(), batch)
    for name, gradient in gradients(fused, batch).items():
        scale = float(exact[name].abs().max()) or 1.0
        torch.testing.assert_close(gradient.double() / scale, exact[name] / scale, atol=2e-5, rtol=0)
    gradients(model, batch)
    torch.testing.assert_close(model.state_dict(), fused.state_dict(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.eval()(batch), fused.eval()(batch), atol=1e-5, rtol=1e-5)


def test_float64_and_batches_without_edges_take_the_blocks():
    model = CGCNN(small(), 2)
    model.fuse()
    none = random_batch(2, num_neighbors=0)
    assert torch.isfinite(model(none).logits).all()
    assert torch.isfinite(model.double()(random_batch()).logits).all()


def test_without_numba_nothing_changes(monkeypatch):
    monkeypatch.setattr("matcard.models.cgcnn.find_spec", lambda name: None)
    model = CGCNN(small(), 2)
    assert not model.fuse()
    assert model.fused is None
