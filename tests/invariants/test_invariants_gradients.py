"""First and second derivatives, by finite differences, by formula, and under torch.func."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from matcard.invariants import magnitude, similarity, spread, weighting

if TYPE_CHECKING:
    from collections.abc import Callable

INVARIANTS: dict[str, Callable[..., torch.Tensor]] = {
    "magnitude": magnitude,
    "magnitude p=1": lambda x, t: magnitude(x, t, 1.0),
    "magnitude p=1.5": lambda x, t: magnitude(x, t, 1.5),
    "magnitude with origin": lambda x, t: magnitude(x, t, origin=True),
    "weighting": weighting,
    "similarity": similarity,
    "spread": spread,
    "spread q=1": lambda x, t: spread(x, t, 1.0),
    "spread q=2.5, p=1.5": lambda x, t: spread(x, t, 2.5, 1.5),
    "spread q=inf": lambda x, t: spread(x, t, math.inf),
}
invariants = pytest.mark.parametrize("invariant", INVARIANTS.values(), ids=INVARIANTS.keys())


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def scale(*shape: int) -> torch.Tensor:
    return torch.full(shape, 1.3, dtype=torch.float64, requires_grad=True)


@invariants
@pytest.mark.parametrize("d", [1, 3])
def test_against_finite_differences(invariant: Callable[..., torch.Tensor], d: int) -> None:
    assert gradcheck(invariant, (draw(6, d), scale()))
    assert gradcheck(invariant, (draw(2, 4, d), scale(2)))
    assert gradgradcheck(invariant, (draw(4, d), scale()))


@invariants
def test_near_and_far_pairs_together(invariant: Callable[..., torch.Tensor]) -> None:
    points = draw(8, 3).detach() * 100
    points[4:] = points[:4] + points[4:] / 1e3
    points = points.requires_grad_()
    assert gradcheck(invariant, (points, scale()), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_formulas(p: float) -> None:
    """d|X|/dd_ij = t zeta_ij w_i w_j and dE_0/dd_ij = t zeta_ij / rowsum_i^2, each ordered pair."""
    t, points = 0.8, draw(30, 3)
    difference = points.detach()[:, None] - points.detach()[None]
    d = (difference.abs() ** p).sum(-1) ** (1 / p)
    zeta = torch.exp(-t * d)
    unit = difference.sign() * difference.abs() ** (p - 1) / (d + torch.eye(30))[..., None] ** (p - 1)
    w = torch.linalg.solve(zeta, torch.ones(30, dtype=torch.float64))
    for value, by_distance in (
        (magnitude(points, t, p), t * zeta * w[:, None] * w),
        (spread(points, t, 0.0, p), t * zeta / zeta.sum(1, keepdim=True) ** 2),
    ):
        (gradient,) = torch.autograd.grad(value, points)
        expected = ((by_distance + by_distance.T)[..., None] * unit).sum(1)
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11)


def test_gradient_of_the_scale() -> None:
    points, t = draw(30, 3).detach(), scale()
    (slope,) = torch.autograd.grad(magnitude(points, t), t)
    step = 1e-5
    central = (magnitude(points, 1.3 + step) - magnitude(points, 1.3 - step)) / (2 * step)
    assert float(slope) == pytest.approx(float(central), rel=1e-8)


@pytest.mark.parametrize("name", [name for name in INVARIANTS if "origin" not in name])
def test_no_net_force(name: str) -> None:
    """Moving all points together changes nothing, so the pulls add up to zero."""
    points = draw(40, 3)
    (gradient,) = torch.autograd.grad(INVARIANTS[name](points, 1.0).pow(2).sum(), points)
    torch.testing.assert_close(gradient.sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-10, rtol=0)


@invariants
def test_torch_func(invariant: Callable[..., torch.Tensor]) -> None:
    points, t = draw(3, 5, 2).detach(), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

    def total(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return invariant(x, t).square().sum()

    one_by_one = [torch.func.grad(total, argnums=(0, 1))(x, s) for x, s in zip(points, t, strict=True)]
    together = torch.func.vmap(torch.func.grad(total, argnums=(0, 1)))(points, t)
    for each, many in zip(zip(*one_by_one, strict=True), together, strict=True):
        torch.testing.assert_close(many, torch.stack(each))
    leaf, at = points[0].requires_grad_(), t[0].requires_grad_()
    for plain, functional in zip(torch.autograd.grad(total(leaf, at), (leaf, at)), one_by_one[0], strict=True):
        torch.testing.assert_close(functional, plain)
    torch.testing.assert_close(torch.func.vmap(invariant, in_dims=(0, None))(points, t[1]), invariant(points, t[1]))


def test_hessian_is_symmetric() -> None:
    points = draw(4, 2).detach()
    hessian = torch.func.jacrev(torch.func.jacrev(magnitude))(points).reshape(8, 8)
    torch.testing.assert_close(hessian, hessian.T)
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(magnitude, points).reshape(8, 8))


@invariants
def test_a_second_backward_pass_finds_what_the_first_found(invariant: Callable[..., torch.Tensor]) -> None:
    """Matrices are worked on in place; what is kept for the gradient must not be."""
    points, t = draw(9, 3), scale()
    value = invariant(points, t).square().sum()
    first, second = (torch.autograd.grad(value, (points, t), retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("invariant", [magnitude, weighting, spread])
def test_one_factor_serves_value_and_gradient(
    invariant: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = []
    factorise = torch.linalg.cholesky_ex
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda *a, **k: factors.append(1) or factorise(*a, **k))
    monkeypatch.setattr(torch.linalg, "solve", None)
    points, t = draw(9, 3), scale()
    torch.autograd.grad(invariant(points, t).sum(), (points, t))
    assert len(factors) == (invariant is not spread)


def test_the_magnitude_keeps_no_matrix_for_its_gradient() -> None:
    kept: list[int] = []
    points = draw(40, 3)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = magnitude(points, scale())
    assert max(kept) == points.numel()
    with torch.no_grad():
        torch.testing.assert_close(magnitude(points, 1.3), value.detach())
