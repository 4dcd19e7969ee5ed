"""Spaces given as a matrix: of distances, or of similarities."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from matcard.errors import InputError
from matcard.invariants import (
    magnitude,
    magnitude_from_similarity,
    similarity,
    similarity_from_distances,
    spread,
    spread_from_similarity,
    weighting,
    weighting_from_similarity,
)

POINTS = torch.randn(2, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def distances(points: torch.Tensor) -> torch.Tensor:
    return (points[..., :, None, :] - points[..., None, :, :]).norm(dim=-1)


def test_the_same_as_from_points() -> None:
    zeta = similarity_from_distances(distances(POINTS), 0.8)
    torch.testing.assert_close(zeta, similarity(POINTS, 0.8))
    torch.testing.assert_close(magnitude_from_similarity(zeta), magnitude(POINTS, 0.8))
    torch.testing.assert_close(weighting_from_similarity(zeta), weighting(POINTS, 0.8))
    for order in (0.0, 1.0, 2.0, math.inf):
        torch.testing.assert_close(spread_from_similarity(zeta, order), spread(POINTS, 0.8, order))
    scales = torch.tensor([0.5, 2.0], dtype=torch.float64)
    torch.testing.assert_close(similarity_from_distances(distances(POINTS), scales), similarity(POINTS, scales))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_similarity_gives_is_accepted(dtype: torch.dtype) -> None:
    points = POINTS.to(dtype)
    points[0, 5] = points[0, 2]
    zeta = similarity(points, 0.8)
    value = magnitude_from_similarity(zeta)
    assert value.dtype == dtype
    torch.testing.assert_close(value, magnitude(points, 0.8))


def test_gradients() -> None:
    upper = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)

    def matrix(values: torch.Tensor, diagonal: float) -> torch.Tensor:
        half = torch.zeros(5, 5, dtype=torch.float64).masked_scatter(upper, values)
        return half + half.T + diagonal * torch.eye(5, dtype=torch.float64)

    values = similarity(POINTS[0, :5])[upper].requires_grad_()
    for function in (magnitude_from_similarity, weighting_from_similarity, spread_from_similarity):
        assert gradcheck(lambda v, f=function: f(matrix(v, 1.0)), (values,))
        assert gradgradcheck(lambda v, f=function: f(matrix(v, 1.0)), (values,))
    apart = distances(POINTS[0, :5])[upper].requires_grad_()
    assert gradcheck(lambda v: magnitude_from_similarity(similarity_from_distances(matrix(v, 0.0), 0.5)), (apart,))


def test_minus_the_outer_product_of_the_weighting() -> None:
    zeta = similarity(POINTS[0]).requires_grad_()
    (slope,) = torch.autograd.grad(magnitude_from_similarity(zeta), zeta)
    w = weighting(POINTS[0])
    torch.testing.assert_close(slope, -w[:, None] * w)


def test_weights_of_twins_pull_alike_on_the_matrix() -> None:
    """Twins have the same weight, so only the mean of what is made of their weights can matter."""
    points = POINTS[0, [0, 1, 2, 3, 1]]
    uneven = torch.arange(5.0, dtype=torch.float64)
    even = uneven.clone()
    even[[1, 4]] = 2.5
    slopes = []
    for factor in (uneven, even):
        zeta = similarity(points).requires_grad_()
        slopes += torch.autograd.grad((weighting_from_similarity(zeta) * factor).sum(), zeta)
    torch.testing.assert_close(*slopes)
    # As zeta w = 1, the gradient along w w' is -(factor . w) w'1.
    w = weighting(points)
    along = (slopes[0] * zeta.detach()).sum()
    torch.testing.assert_close(along, -(even * w).sum(), rtol=1e-10, atol=1e-12)


def test_a_graph_without_magnitude() -> None:
    """The complete bipartite graph K_{3,2} has no positive definite similarity at small scales, but a spread."""
    side = torch.tensor([0, 0, 0, 1, 1])
    steps = torch.where(side[:, None] == side, 2.0, 1.0).double().fill_diagonal_(0)
    zeta = similarity_from_distances(steps, 0.2)
    for function in (magnitude_from_similarity, weighting_from_similarity):
        with pytest.raises(InputError, match=r"eigenvalue -.*positive definite.*use spread"):
            function(zeta)
    assert 1 < float(spread_from_similarity(zeta)) < 5
    assert float(magnitude_from_similarity(similarity_from_distances(steps, 2.0))) < 5


def test_nothing_in_it() -> None:
    empty = torch.zeros(3, 0, 0)
    for function in (magnitude_from_similarity, spread_from_similarity):
        torch.testing.assert_close(function(empty), torch.zeros(3))
    assert weighting_from_similarity(empty).shape == (3, 0)


GOOD = torch.tensor([[1.0, 0.5], [0.5, 1.0]])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.tensor([[1.0, 0.5], [0.4, 1.0]]), "not symmetric"),
        (torch.tensor([[0.9, 0.5], [0.5, 0.9]]), "diagonal other than 1"),
        (torch.tensor([[1.0, -0.1], [-0.1, 1.0]]), r"outside \[0, 1\]"),
        (torch.tensor([[1.0, math.nan], [math.nan, 1.0]]), "not finite"),
        (GOOD[:1], r"shape \(1, 2\).*square"),
        (GOOD.long(), "torch.int64.*floating point"),
    ],
)
def test_refused_similarities(matrix: torch.Tensor, message: str) -> None:
    for function in (magnitude_from_similarity, weighting_from_similarity, spread_from_similarity):
        with pytest.raises(InputError, match=f"similarity matrix.*{message}"):
            function(matrix)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.tensor([[0.0, 0.5], [0.4, 0.0]]), "not symmetric"),
        (torch.tensor([[0.1, 0.5], [0.5, 0.0]]), "diagonal other than 0"),
        (torch.tensor([[0.0, -0.5], [-0.5, 0.0]]), "negative"),
        (torch.tensor([[0.0, math.inf], [math.inf, 0.0]]), "not finite"),
    ],
)
def test_refused_distances(matrix: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"matrix of distances.*{message}"):
        similarity_from_distances(matrix)


def test_rounding_is_no_asymmetry_and_a_millionth_is() -> None:
    for dtype in (torch.float32, torch.float64):
        rounded = distances(POINTS[0]).to(dtype)
        rounded[0, 1] *= 1 + 4 * torch.finfo(dtype).eps
        assert similarity_from_distances(rounded).isfinite().all()
        rounded[0, 1] *= 1 + 1e-5
        with pytest.raises(InputError, match="not symmetric"):
            similarity_from_distances(rounded)


def test_refused_orders() -> None:
    with pytest.raises(InputError, match="order = -1"):
        spread_from_similarity(GOOD, -1.0)
