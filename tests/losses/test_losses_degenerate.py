"""Batches that break the obvious code: every loss and mode stays finite, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from loss_cases import CASES, case_id, made

from matcard.losses import build_loss

COUNTS = [9, 3, 2]


def right(targets: torch.Tensor, size: float) -> torch.Tensor:
    """Logits that are sure of the right class."""
    return size * (2 * torch.nn.functional.one_hot(targets, 3) - 1).double()


def batches() -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    y = torch.tensor([0, 0, 0, 1, 1, 2])
    one_class = torch.zeros(6, dtype=torch.long)
    return {
        "one sample": (normal(1, 3), torch.tensor([2]), normal(1, 4)),
        "no sample": (normal(0, 3), torch.zeros(0, dtype=torch.long), normal(0, 4)),
        "one class": (normal(6, 3), one_class, normal(6, 4)),
        "no error": (right(y, 1e3), y, normal(6, 4)),
        "hardly an error": (right(y, 16.0), y, normal(6, 4)),
        "all wrong": (-right(y, 1e3), y, normal(6, 4)),
        "twins": (normal(1, 3).repeat(6, 1), y, normal(1, 4).repeat(6, 1)),
        "near twins": (normal(1, 3).repeat(6, 1), y, normal(1, 4) + 1e-9 * normal(6, 4)),
        "dead embeddings": (normal(6, 3), y, torch.zeros(6, 4)),
        "huge embeddings": (normal(6, 3), y, 1e6 * normal(6, 4)),
    }


BATCHES = batches()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_value_and_gradient_are_finite(case, batch, dtype) -> None:
    name, options = case
    z, y, h = BATCHES[batch]
    z, h = (leaf.to(dtype, copy=True).requires_grad_() for leaf in (z, h))
    loss = build_loss(name, class_counts=COUNTS, **options)
    for epoch in range(2):
        loss.on_epoch(epoch, 2)
        result = loss(z, y, h)
        assert result.shape == ()
        assert torch.isfinite(result)
        result.backward()
    for leaf in (z, h):
        assert leaf.grad is None or torch.isfinite(leaf.grad).all()
    assert z.grad is not None or h.grad is not None


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_no_sample_leaves_no_parameter_without_a_gradient(case) -> None:
    name, options = case
    z, y, h = BATCHES["no sample"]
    z, h = (leaf.clone().requires_grad_() for leaf in (z, h))
    loss = build_loss(name, class_counts=COUNTS, **options)
    loss(z, y, h).backward()
    assert z.grad is not None
    assert h.grad is not None or not loss.needs_embeddings


@pytest.mark.parametrize("combine", ["divide", "multiply", "ratio"])
def test_logits_that_play_no_part_may_be_of_any_size(combine) -> None:
    _, y, h = BATCHES["one class"]
    for targets in (y, BATCHES["twins"][1]):
        loss = made("spread", name="triplet", combine=combine)
        assert torch.isfinite(loss(torch.full((6, 3), 3e38), targets, 1e38 * h.float()))


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_training_to_no_error_never_breaks(case) -> None:
    name, options = case
    torch.manual_seed(1)
    y = torch.tensor([0] * 12 + [1] * 6 + [2] * 4)
    x = torch.randn(22, 2) * 0.3 + torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0]])[y]
    body, head = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU()), torch.nn.Linear(8, 3)
    loss = build_loss(name, class_counts=[12, 6, 4], **options)
    weights = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, lr=0.1)
    for epoch in range(3):
        loss.on_epoch(epoch, 3)
        if epoch == 2:
            # From right to certain: errors of 1e-30 and less, most of them twins of zero.
            assert (head(body(x)).argmax(1) == y).all() or not loss.trains_head
            with torch.no_grad():
                head.weight.mul_(30)
        for _ in range((30, 30, 5)[epoch]):
            h = body(x)
            result = loss(head(h), y, h)
            assert torch.isfinite(result)
            optimizer.zero_grad()
            result.backward()
            optimizer.step()
    # What is not finite once never is again.
    assert all(torch.isfinite(weight).all() for weight in weights)


@pytest.mark.gpu
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_gpu_gives_what_the_cpu_gives(case, batch) -> None:
    name, options = case
    results = {}
    for device in ("cpu", "cuda"):
        z, y, h = (tensor.to(device, copy=True) for tensor in BATCHES[batch])
        z, h = z.requires_grad_(), h.requires_grad_()
        loss = build_loss(name, class_counts=COUNTS, **options).to(device)
        for epoch in range(2):
            loss.on_epoch(epoch, 2)
            result = loss(z, y, h)
            result.backward()
        gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in (z, h)]
        results[device] = [tensor.cpu() for tensor in (result, *gradients)]
    for on_gpu, on_cpu in zip(results["cuda"], results["cpu"], strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-5, atol=1e-6)
