"""Shares, clipped weights and their sums by class: the laws of copies, blocks against the plain matrix, refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.errors import InputError
from matcard.invariants import (
    _distances,
    _shares,
    clipped_weighting,
    inverse_density,
    near_copies,
    shares,
    spread,
    sum_by_class,
    weighting,
)

SEEDS = st.integers(0, 2**31)
SCALES = st.floats(0.05, 30.0)
EXPONENTS = st.sampled_from([1.0, 1.5, 2.0])


def draw(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain_similarity(points: torch.Tensor, scale: float, p: float) -> torch.Tensor:
    return torch.exp(-scale * (points[:, None] - points).abs().pow(p).sum(-1).pow(1 / p))


def with_copies(points: torch.Tensor, copies: int) -> torch.Tensor:
    """Let the first point come `copies` times in all."""
    return torch.cat([points, points[:1].expand(copies - 1, -1)])


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(1, 5), SCALES, EXPONENTS, st.integers(1, 40), SEEDS)
def test_blocks_agree_with_the_plain_matrix(n: int, d: int, scale: float, p: float, rows: int, seed: int) -> None:
    points = draw(n, d, seed)
    points[n // 2 :] = points[: n - n // 2] + 1e-9 * points[n // 2 :]  # near twins, too
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_distances._CHUNK, "cpu", rows * n)
        patch.setattr(_distances, "_LEAST_ROWS", 1)
        in_blocks = shares(points, scale, p)
    torch.testing.assert_close(in_blocks, 1 / plain_similarity(points, scale, p).sum(1), rtol=1e-9, atol=0)
    torch.testing.assert_close(in_blocks.sum(), spread(points, scale, 0.0, p, method="dense"), rtol=1e-9, atol=0)


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 30), st.integers(1, 50), SCALES, EXPONENTS, SEEDS)
def test_copies_together_have_what_the_law_says(n: int, copies: int, scale: float, p: float, seed: int) -> None:
    """n copies have n / (n + s) together, s the similarity of one to all others; never (1 + s) times that of one."""
    points = draw(n, 3, seed)
    similarity = plain_similarity(points, scale, p)[0, 1:]
    others = float(similarity.sum())
    repeated = shares(with_copies(points, copies), scale, p)
    together = float(repeated[0] + repeated[n:].sum())
    alone = float(shares(points, scale, p)[0])
    assert together == pytest.approx(copies / (copies + others), rel=1e-9)
    assert together <= (1 + others) * alone * (1 + 1e-9)
    # Every other sample loses by what it is alike to the copies.
    sums = plain_similarity(points, scale, p)[1:].sum(1)
    torch.testing.assert_close(repeated[1:n], 1 / (sums + (copies - 1) * similarity), rtol=1e-9, atol=0)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 50), SCALES, SEEDS)
def test_copies_of_what_lies_alone_have_the_share_of_one(n: int, copies: int, scale: float, seed: int) -> None:
    points = draw(n, 3, seed)
    points[0] += 1e4 / scale
    repeated = shares(with_copies(points, copies), scale)
    assert float(repeated[0] + repeated[n:].sum()) == pytest.approx(1.0, rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 30), st.integers(2, 50), SCALES, EXPONENTS, SEEDS)
def test_copies_together_have_the_weight_of_one(n: int, copies: int, scale: float, p: float, seed: int) -> None:
    points = draw(n, 3, seed)
    repeated, alone = (clipped_weighting(x, scale, p) for x in (with_copies(points, copies), points))
    torch.testing.assert_close(repeated[0] + repeated[n:].sum(), alone[0], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(repeated[1:n], alone[1:], rtol=1e-7, atol=1e-9)


def test_a_negative_weight_is_cut() -> None:
    """The middle of a star is outweighed by its points."""
    star = torch.cat([torch.zeros(1, 6), torch.eye(6), -torch.eye(6)]).double()
    zeta = plain_similarity(star, 0.1, 2.0)
    expected = torch.linalg.solve(zeta, torch.ones(13, dtype=torch.float64))
    assert expected[0] < 0
    torch.testing.assert_close(weighting(star, 0.1), expected)
    torch.testing.assert_close(clipped_weighting(star, 0.1), expected.clamp(min=0))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 30), st.integers(1, 4), SCALES, SEEDS)
@pytest.mark.parametrize("function", [shares, clipped_weighting, inverse_density])
def test_groups_do_not_see_each_other(function, n: int, groups: int, scale: float, seed: int) -> None:
    points = draw(n, 3, seed)
    group = torch.randint(3 * groups, (n,), generator=torch.Generator().manual_seed(seed)) - 2  # gaps, negative ones
    found = function(points, scale, groups=group)
    expected = torch.zeros(n, dtype=torch.float64)
    for each in group.unique():
        expected[group == each] = function(points[group == each], scale)
    torch.testing.assert_close(found, expected)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), max_size=40))
def test_sums_by_class(classes: list[int]) -> None:
    weights = torch.arange(len(classes), dtype=torch.float32)
    expected = [float(sum(i for i, c in enumerate(classes) if c == label)) for label in range(5)]
    assert sum_by_class(weights, torch.tensor(classes, dtype=torch.int64), 5).tolist() == expected


def test_the_sums_of_the_shares_count_what_is_distinct() -> None:
    """Two far families of 50 copies, and three single ones."""
    points = torch.cat([torch.zeros(50, 2), torch.full((50, 2), 1e3), torch.tensor([[2e3, 0], [3e3, 0], [4e3, 0]])])
    classes = torch.tensor([0] * 50 + [1] * 51 + [0, 0])
    for function in (shares, clipped_weighting):
        found = sum_by_class(function(points), classes, 3)
        torch.testing.assert_close(found, torch.tensor([3.0, 2.0, 0.0]))


def test_precision_and_gradient() -> None:
    points = draw(20, 3, 0)
    for dtype in (torch.bfloat16, torch.float32):
        assert shares(points.to(dtype)).dtype == dtype
    few = points[:5].clone().requires_grad_()
    scale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    group = torch.tensor([0, 1, 0, 1, 1])
    assert torch.autograd.gradcheck(lambda x, t: shares(x, t), (few, scale))
    assert torch.autograd.gradcheck(lambda x, t: shares(x, t, groups=group), (few, scale))


def test_memory_is_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    monkeypatch.setitem(_distances._CHUNK, "cpu", 300 * 20)
    monkeypatch.setattr(_distances, "_LEAST_ROWS", 1)
    with Watch():
        shares(draw(300, 3, 0))
    assert largest == 300 * 20


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), SCALES, EXPONENTS, st.integers(1, 40), SEEDS)
def test_density_by_the_plain_matrix(n: int, radius: float, p: float, rows: int, seed: int) -> None:
    points = draw(n, 3, seed)
    points[n // 2 :] = points[: n - n // 2].clone()
    spacing = (points[:, None] - points).abs().pow(p).sum(-1).pow(1 / p)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_distances._CHUNK, "cpu", rows * n)
        patch.setattr(_distances, "_LEAST_ROWS", 1)
        gaussian, ball = (inverse_density(points, radius, kernel, p) for kernel in ("gaussian", "ball"))
    torch.testing.assert_close(gaussian, 1 / torch.exp(-((spacing / radius) ** 2) / 2).sum(1), rtol=1e-9, atol=0)
    if (spacing - radius).abs().min() > 1e-9:
        torch.testing.assert_close(ball, 1 / (spacing <= radius).sum(1).double())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 50), st.floats(0, 3), EXPONENTS, st.integers(1, 20), st.integers(1, 3), SEEDS)
def test_near_copies_by_a_loop(n: int, radius: float, p: float, rows: int, groups: int, seed: int) -> None:
    points = draw(n, 2, seed)
    points[n // 2 :] = points[: n - n // 2].clone()
    group = torch.randint(groups, (n,), generator=torch.Generator().manual_seed(seed))
    expected: list[int] = []
    for i in range(n):
        kept = [j for j in range(i) if expected[j] < 0 and group[i] == group[j]]
        spacing = [float((points[i] - points[j]).abs().pow(p).sum() ** (1 / p)) for j in kept]
        near = [(d, j) for d, j in zip(spacing, kept, strict=True) if d <= radius]
        expected.append(min(near)[1] if near else -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_distances._CHUNK, "cpu", max(1, rows * n))
        patch.setattr(_distances, "_LEAST_ROWS", 1)
        found = near_copies(points, radius, p, groups=group)
    assert found.tolist() == expected


def test_wrong_radii_and_kernels() -> None:
    points = draw(3, 2, 0)
    for radius in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"radius = .*0 or more"):
            near_copies(points, radius)
    with pytest.raises(InputError, match="kernel = 'box': expected one of gaussian, ball"):
        inverse_density(points, 1.0, "box")


@pytest.mark.parametrize("function", [shares, clipped_weighting, inverse_density])
def test_what_is_refused(function, monkeypatch: pytest.MonkeyPatch) -> None:
    points = draw(4, 2, 0)
    with pytest.raises(InputError, match=r"shape \(2, 3, 2\).*one set"):
        function(torch.zeros(2, 3, 2))
    with pytest.raises(InputError, match="p = 3"):
        function(points, 1.0, p=3)
    with pytest.raises(InputError, match=r"(scale|radius) = -1"):
        function(points, -1)
    with pytest.raises(InputError, match=r"shape \(3,\).*4 points"):
        function(points, groups=torch.zeros(3, dtype=torch.long))
    with pytest.raises(InputError, match=r"dtype torch\.float32"):
        function(points, groups=torch.zeros(4))
    monkeypatch.setattr(_shares, "SHARES_LIMIT", 3)
    monkeypatch.setattr(_shares, "DENSE_LIMIT", 3)
    with pytest.raises(InputError, match="4 x 4 distances, 3 are taken: draw a part"):
        function(points)


def test_classes_that_are_refused() -> None:
    with pytest.raises(InputError, match="run from -1 to 2; expected 0 to 1"):
        sum_by_class(torch.ones(2), torch.tensor([-1, 2]), 2)
    with pytest.raises(InputError, match="2 points"):
        sum_by_class(torch.ones(2), torch.tensor([0]), 2)
    with pytest.raises(InputError, match=r"weights have shape \(2, 3\)"):
        sum_by_class(torch.ones(2, 3), torch.tensor([0, 1]), 2)
