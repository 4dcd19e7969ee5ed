"""The same numbers on a GPU."""

from __future__ import annotations

import pytest
import torch

from matcard.invariants import (
    magnitude,
    magnitude_of_groups,
    median_scale,
    shares,
    spread,
    spread_of_groups,
    weighting,
)

pytestmark = pytest.mark.gpu


def draw(n: int = 300, d: int = 5) -> torch.Tensor:
    points = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    points[-20:] = points[:20]
    return points


FUNCTIONS = {
    "magnitude": magnitude,
    "magnitude p=1": lambda x: magnitude(x, 0.7, 1.0),
    "magnitude with origin": lambda x: magnitude(x, origin=True),
    "magnitude matrix-free": lambda x: magnitude(x, method="matrix_free", tolerance=1e-10),
    "magnitude on a line": lambda x: magnitude(x[:, :1]),
    "spread": spread,
    "spread q=2": lambda x: spread(x, 0.7, 2.0),
    "spread matrix-free": lambda x: spread(x, method="matrix_free"),
    "spread on a line": lambda x: spread(x[:, :1]),
    "magnitude of groups": lambda x: magnitude_of_groups(x, torch.arange(len(x), device=x.device) % 7).sum(),
    "spread of groups": lambda x: spread_of_groups(x, torch.arange(len(x), device=x.device) % 7, order=1.5).sum(),
    "shares": lambda x: shares(x, 0.7).square().sum(),
    "shares by group": lambda x: shares(x, groups=torch.arange(len(x), device=x.device) % 3).square().sum(),
    "weighting": lambda x: weighting(x).square().sum(),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_as_on_the_cpu(function, dtype: torch.dtype) -> None:
    results = []
    for device in ("cpu", "cuda"):
        points = draw().to(device, dtype).requires_grad_()
        with torch.autocast(device, dtype=torch.bfloat16):
            value = function(points)
        assert value.device.type == device
        assert value.dtype == dtype
        (slope,) = torch.autograd.grad(value, points)
        results.append((value.cpu(), slope.cpu()))
    for host, device in zip(*results, strict=True):
        torch.testing.assert_close(device, host, **({} if dtype != torch.float64 else {"rtol": 1e-6, "atol": 1e-7}))


def test_collapse_gives_finite_numbers() -> None:
    for shrink in (1e-9, 1e-15, 1e-17, 0.0):
        points = (draw().double() * shrink).cuda().requires_grad_()
        for value in (magnitude(points, origin=True), spread(points, origin=True)):
            assert float(value.detach()) == pytest.approx(1.0, abs=1e-5)
            assert torch.autograd.grad(value, points)[0].isfinite().all()


def test_median_scale_stays_on_the_device() -> None:
    scale = median_scale(draw().cuda())
    assert scale.device.type == "cuda"
    torch.testing.assert_close(scale.cpu(), median_scale(draw()))


def test_median_scale_has_a_deterministic_way() -> None:
    points = torch.stack([draw(), 2 * draw()])
    torch.use_deterministic_algorithms(True)
    try:
        scale = median_scale(points.cuda())
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(scale.cpu(), median_scale(points))
