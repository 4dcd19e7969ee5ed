"""The way without a matrix: the dense values to the stated tolerance, in less memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from matcard.errors import InputError, MatcardWarning
from matcard.invariants import _distances, _matrix_free, magnitude, spread, weighting
from matcard.invariants import _points as points_module


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even these few points into several pieces, the last one short."""
    monkeypatch.setitem(_distances._CHUNK, "cpu", 70 * 200)
    monkeypatch.setattr(_distances, "_LEAST_ROWS", 1)


def draw(kind: str, n: int = 200, d: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    points = torch.randn(n, d, dtype=torch.float64, generator=generator)
    if kind == "errors":
        targets = torch.randint(d, (n,), generator=generator)
        points = torch.nn.functional.one_hot(targets, d) - torch.softmax(6 * points, -1)
    if kind == "twins":
        points[150:] = points[:50]
    if kind == "near twins":
        points[150:] = points[:50] + 1e-5 * points[150:]
    return points


KINDS = ["normal", "errors", "twins", "near twins"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_as_the_dense_way(kind: str, scale: float, p: float) -> None:
    results = []
    for method in ("dense", "matrix_free"):
        points, t = draw(kind).requires_grad_(), torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        value = magnitude(points, t, p, method=method, tolerance=1e-12)
        results.append((value.detach(), *torch.autograd.grad(value, (points, t))))
    for (dense, free), tolerance in zip(zip(*results, strict=True), (1e-10, 1e-6, 1e-6), strict=True):
        torch.testing.assert_close(free, dense, rtol=tolerance, atol=tolerance)
    by_default = magnitude(points.detach(), scale, p, method="matrix_free")
    torch.testing.assert_close(by_default, results[0][0], rtol=1e-8, atol=0)


@pytest.mark.parametrize("order", [0.0, 1.0, 2.5])
def test_spread_is_exact(order: float) -> None:
    results = []
    for method in ("dense", "matrix_free"):
        points = draw("twins").requires_grad_()
        value = spread(points, 0.8, order, method=method)
        results.append((value.detach(), *torch.autograd.grad(value, points)))
    for dense, free in zip(*results, strict=True):
        torch.testing.assert_close(free, dense, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_the_residual_is_within_the_tolerance(kind: str) -> None:
    points = draw(kind)
    zeta = torch.exp(-(points[:, None] - points).norm(dim=-1))
    for tolerance in (1e-3, 1e-6, 1e-9):
        residual = 1 - zeta @ weighting(points, method="matrix_free", tolerance=tolerance)
        assert residual.norm() / math.sqrt(200) <= 1.01 * tolerance


def test_gradients() -> None:
    points = torch.randn(2, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scale = torch.tensor([0.7, 1.3], dtype=torch.float64, requires_grad=True)
    for function in (magnitude, weighting):
        assert gradcheck(lambda x, t, f=function: f(x, t, method="matrix_free", tolerance=1e-13), (points, scale))
    assert gradcheck(lambda x, t: spread(x, t, 1.5, method="matrix_free"), (points, scale))


def test_second_derivatives_are_refused() -> None:
    points = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    value = magnitude(points, method="matrix_free").square()
    (slope,) = torch.autograd.grad(value, points, create_graph=True)
    with pytest.raises(InputError, match=r"no second derivatives.*dense"):
        slope.sum().backward()


@pytest.mark.parametrize("invariant", [magnitude, spread])
def test_a_penalty_on_a_gradient_is_not_left_out_silently(invariant) -> None:
    points = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    value = invariant(points, method="matrix_free")
    (slope,) = torch.autograd.grad(value, points, create_graph=True)
    with pytest.raises(InputError, match="no second derivatives"):
        (value + slope.square().sum()).backward()
    by_transform = torch.func.grad(lambda x: invariant(x, method="matrix_free"))(points.detach())
    torch.testing.assert_close(by_transform, slope.detach())


def test_chosen_for_many_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = draw("normal")
    dense = magnitude(points)
    monkeypatch.setattr(points_module, "DENSE_LIMIT", 199)
    monkeypatch.setattr(points_module, "magnitude_of_points", None)
    torch.testing.assert_close(magnitude(points), dense)


def test_no_square_matrix_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    monkeypatch.setattr(_matrix_free, "_LANDMARKS", 10)
    points = draw("normal").requires_grad_()
    with Watch():
        torch.autograd.grad(magnitude(points, method="matrix_free"), points)
        torch.autograd.grad(spread(points, method="matrix_free"), points)
    assert largest == 200 * 70


def test_few_points_and_none() -> None:
    for n in (0, 1, 2):
        points = torch.zeros(3, n, 2)
        torch.testing.assert_close(magnitude(points, method="matrix_free"), torch.full((3,), float(min(n, 1))))
        torch.testing.assert_close(spread(points, method="matrix_free"), torch.full((3,), float(min(n, 1))))
    no_sets = torch.zeros(0, 2, 3, requires_grad=True)
    for invariant in (magnitude, spread):
        assert invariant(no_sets, method="matrix_free").shape == (0,)


def test_too_few_steps_warn_and_still_give_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_matrix_free, "_MAX_ITERATIONS", 2)
    with pytest.warns(MatcardWarning, match=r"200 points did not reach the tolerance 1e-08 in 2 steps.*dense"):
        value = magnitude(draw("normal"), 0.1, method="matrix_free")
    assert value.isfinite()
