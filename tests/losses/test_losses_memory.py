"""Memory of past batches: their points join the metric space, the gradient is the batch's own."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import cross_entropy, excess, made, similarity, unit

from matcard.errors import InputError
from matcard.invariants import magnitude
from matcard.losses import make_options
from matcard.losses.error import error_points
from matcard.losses.measure import Memory

RNG = np.random.default_rng(9)
COUNTS = [40, 30, 20]
NAMES = ["magnitude", "spread"]
REWEIGHT = {"name": "reweight", "scale": 2.0}
PER_CLASS = {"name": "per_class", "scale": 0.7, "lambda_invariant": 0.3}
FORMS = [REWEIGHT, PER_CLASS, {**PER_CLASS, "unit_norm": True}]


def batches(sizes: tuple[int, ...] = (5, 4, 6, 1)):
    """Unequal batches in float64: logits, targets, embeddings."""
    rng = np.random.default_rng(3)
    return [
        (
            torch.tensor(rng.normal(size=(n, 3))),
            torch.tensor(rng.integers(3, size=n)),
            torch.tensor(rng.normal(size=(n, 4))),
        )
        for n in sizes
    ]


def numpied(batch) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in batch]


def newest(past: list[np.ndarray], size: int) -> np.ndarray:
    """The rows that a memory of this size holds: whole batches from the last one back, then cut."""
    return np.concatenate(past[::-1])[:size]


def weights(name: str, points: np.ndarray, t: float) -> np.ndarray:
    zeta = similarity(points, t)
    if name == "spread":
        return 1 / zeta.sum(1)
    return np.maximum(np.linalg.solve(zeta, np.ones(len(points))), 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [3, 7, 100])
def test_weights_of_a_batch_are_those_in_the_union(name, size) -> None:
    loss, past = made(name, memory=size, **REWEIGHT), []
    for batch in batches():
        z, y, h = numpied(batch)
        own = np.concatenate([unit(h), np.eye(3)[y]], 1)
        union = np.concatenate([own, newest(past, size)]) if past else own
        w = weights(name, union, 2.0)[: len(y)]
        expected = (w * cross_entropy(z, y)).sum() / w.sum()
        assert loss(*batch).item() == pytest.approx(expected, rel=1e-9)
        past.append(own)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit_norm", [False, True])
def test_embeddings_of_past_batches_join_their_classes(name, unit_norm) -> None:
    loss, past, labels = made(name, memory=6, unit_norm=unit_norm, **PER_CLASS), [], []
    for batch in batches():
        z, y, h = numpied(batch)
        own = unit(h) if unit_norm else h
        union = np.concatenate([own, newest(past, 6)]) if past else own
        classes = np.concatenate([y, newest(labels, 6)]) if past else y
        inner = np.mean([excess(name, union[classes == c], 0.7) for c in np.unique(classes)])
        expected = cross_entropy(z, y).mean() + 0.3 * (inner - excess(name, union, 0.7))
        assert loss(*batch).item() == pytest.approx(expected, rel=1e-9)
        past.append(own)
        labels.append(y)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_the_gradient_is_that_of_the_batch_in_the_union(name, options) -> None:
    """Of what would come of all rows in one batch, by finite differences of the batch's own entries."""
    first, second = batches(sizes=(5, 4))
    loss = made(name, memory=9, **options)
    loss(*first)
    before = copy.deepcopy(loss)

    def at(z, h) -> torch.Tensor:
        return copy.deepcopy(before)(z, second[1], h)

    leaves = [second[0].clone().requires_grad_(), second[2].clone().requires_grad_()]
    if options is REWEIGHT:
        # Weights are constants: only the logits move the loss.
        assert torch.autograd.gradcheck(lambda z: at(z, second[2]), leaves[:1])
    else:
        assert torch.autograd.gradcheck(at, leaves)


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_no_graph_outlives_its_batch(options) -> None:
    loss = made("magnitude", memory=9, **options)
    for z, y, h in batches() * 2:
        leaves = z.clone().requires_grad_(), h.clone().requires_grad_()
        loss(leaves[0], y, leaves[1]).backward()
    points, targets = loss.memory._past
    assert not points.requires_grad
    assert len(points) == len(targets) == 9


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_evaluation_neither_reads_nor_writes(options) -> None:
    loss, plain = made("spread", memory=9, **options), made("spread", **options)
    first, second = batches(sizes=(5, 4))
    expected = plain(*second).item()
    loss(*first)
    twin = copy.deepcopy(loss)
    assert loss.eval()(*second).item() == expected
    assert loss.eval()(*first).item() == plain(*first).item()
    assert loss.train()(*second).item() == twin(*second).item() != expected


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_an_epoch_begins_without_memory_so_a_resumed_run_goes_on_the_same(options) -> None:
    def epoch(loss, number: int) -> list[float]:
        loss.on_epoch(number, 3)
        return [loss(*batch).item() for batch in batches()]

    whole = made("spread", class_counts=COUNTS, memory=7, **options)
    first = epoch(whole, 0)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed = made("spread", class_counts=COUNTS, memory=7, **options)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert epoch(whole, 1) == epoch(resumed, 1) == first


@pytest.mark.parametrize("name", NAMES)
def test_halves_with_memory_weigh_samples_as_the_whole_batch_does(name) -> None:
    """What it is for: the second half of a batch has the very weights that it has in the whole."""
    ((z, y, h),) = batches(sizes=(12,))
    loss, plain = made(name, memory=6, **REWEIGHT), made(name, **REWEIGHT)
    loss(z[:6], y[:6], h[:6])
    remembered, alone = (one(z[6:], y[6:], h[6:]).item() for one in (loss, plain))
    points = np.concatenate([unit(h.numpy()), np.eye(3)[y.numpy()]], 1)
    w = weights(name, points, 2.0)[6:]
    expected = (w * cross_entropy(z[6:].numpy(), y[6:].numpy())).sum() / w.sum()
    assert remembered == pytest.approx(expected)
    assert abs(alone - expected) > 1e-4


@pytest.mark.parametrize(("remembered", "ends"), [(False, 1), (True, 0)])
def test_why_errors_take_none(remembered, ends) -> None:
    """Descent goes to the nearest point that stays: a remembered mistake, where there is one, in place of none."""
    past, targets = torch.tensor([[2.0, 0.0, 0.0]]).double(), torch.tensor([1])
    logits = torch.tensor([[1.8, 0.3, 0.0]], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=0.5)
    for _ in range(300):
        points = error_points(logits, targets, 2.0)
        if remembered:
            points = torch.cat([points, error_points(past, targets, 2.0)])
        optimizer.zero_grad()
        magnitude(points, origin=True).backward()
        optimizer.step()
    assert logits.argmax() == ends


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.lists(st.integers(0, 7), min_size=1, max_size=8))
def test_a_memory_is_first_in_first_out(size, lengths) -> None:
    memory, past = Memory(size), []
    for step, length in enumerate(lengths):
        rows = [(step, k) for k in range(length)]
        given_rows = torch.tensor(rows, dtype=torch.float64).reshape(length, 2)
        points, targets = memory(given_rows, torch.full((length,), step))
        assert points.tolist() == [list(row) for row in [*rows, *past]]
        assert targets.tolist() == [row[0] for row in [*rows, *past]]
        past = [*rows, *past][:size]
    memory.on_epoch(0, 1)
    assert len(memory(torch.zeros(1, 2), torch.zeros(1))[0]) == 1


def test_no_memory_is_no_change() -> None:
    memory, points = Memory(0), torch.rand(3, 2)
    for _ in range(2):
        assert memory(points, torch.arange(3))[0] is points


@pytest.mark.parametrize("name", ["error", "triplet", "effective_number", "cross_entropy"])
def test_losses_that_have_no_use_for_it_do_not_know_it(name) -> None:
    with pytest.raises(InputError, match=f"unknown option of loss '{name}' 'memory'; .*there are: "):
        make_options(name, memory=5)


def test_half_precision_is_remembered() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        loss = made("spread", memory=4, **REWEIGHT)
        for z, y, h in batches():
            assert torch.isfinite(loss(z.to(dtype), y, h.to(dtype)))
