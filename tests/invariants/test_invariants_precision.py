"""Input in any precision, under autocast too: float64 inside, the input's dtype outside."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest
import torch

from matcard.invariants import magnitude, median_scale, similarity, spread, weighting
from matcard.invariants._inputs import restore, to_double

if TYPE_CHECKING:
    from collections.abc import Callable

INVARIANTS = pytest.mark.parametrize("invariant", [magnitude, spread, weighting, similarity, median_scale])
POINTS = torch.randn(60, 4, generator=torch.Generator().manual_seed(3))


def call(invariant: Callable[..., torch.Tensor], points: torch.Tensor) -> torch.Tensor:
    return invariant(points) if invariant is median_scale else invariant(points, 0.7)


@INVARIANTS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_precision(invariant: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    points = POINTS.clone().to(dtype).requires_grad_()
    value = call(invariant, points)
    assert value.dtype == dtype
    exact = call(invariant, points.detach().double())
    torch.testing.assert_close(value.detach(), exact.to(dtype), rtol=0, atol=0)
    if invariant is not median_scale:
        value.sum().backward()
        assert points.grad is not None
        assert points.grad.dtype == dtype
        reference = points.detach().clone().double().requires_grad_()
        call(invariant, reference).sum().backward()
        torch.testing.assert_close(points.grad, reference.grad.to(dtype))


@INVARIANTS
def test_autocast_changes_nothing(invariant: Callable[..., torch.Tensor]) -> None:
    points = POINTS.clone().requires_grad_()
    plain = call(invariant, points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = call(invariant, points)
        if invariant is not median_scale:
            (gradient,) = torch.autograd.grad(inside.sum(), points)
    torch.testing.assert_close(inside, plain, rtol=0, atol=0)
    if invariant is not median_scale:
        torch.testing.assert_close(gradient, torch.autograd.grad(plain.sum(), points)[0], rtol=0, atol=0)


def test_no_matrix_product_for_near_points() -> None:
    """torch.cdist gives points past 25 self-distances of 1e-3 in float32, and these errors pull."""
    points = 100 + POINTS * 1e-3
    exact = torch.exp(-0.7 * (points.double()[:, None] - points.double()).norm(dim=-1))
    torch.testing.assert_close(similarity(points.double(), 0.7), exact, rtol=1e-12, atol=0)
    assert similarity(points, 0.7).diagonal().eq(1).all()
    assert float(magnitude(points.double(), 0.7)) == pytest.approx(float(torch.linalg.inv(exact).sum()), rel=1e-10)


def test_a_device_without_float64_sends_its_points_to_the_cpu_and_takes_the_result_back() -> None:
    """Apple's MPS has no float64, so its tensors must move before they widen, and narrow before they move back."""
    points, value = MagicMock(), MagicMock()
    points.device.type = "mps"
    assert to_double(points) is points.cpu().double()
    points.double.assert_not_called()
    assert restore(value, points) is value.to(points.dtype).to(points.device)
    value.to.assert_called_with(points.dtype)


def test_a_scale_in_another_precision() -> None:
    scale = torch.tensor(0.7, dtype=torch.bfloat16, requires_grad=True)
    value = magnitude(POINTS, scale)
    assert value.dtype == torch.float32
    value.backward()
    assert scale.grad is not None
    assert scale.grad.dtype == torch.bfloat16
    torch.testing.assert_close(magnitude(POINTS[:, :1], scale), magnitude(POINTS[:, :1], scale.item()))


def test_import_loads_nothing_heavier_than_torch() -> None:
    code = "import sys, matcard.invariants; print(' '.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "torch" in loaded
    assert not loaded & {"pandas", "pymatgen", "lightning", "torch_geometric", "jaxtyping", "sklearn", "scipy"}
