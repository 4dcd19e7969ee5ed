"""Groups of points at once: what each group alone would give."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from matcard.errors import InputError
from matcard.invariants import _groups, magnitude, magnitude_of_groups, spread, spread_of_groups

ORDERS = (0.0, 0.5, 1.0, 2.0, math.inf)


def draw(groups: list[int], d: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(len(groups), d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(value: torch.Tensor, expected: list[torch.Tensor]) -> None:
    torch.testing.assert_close(value, torch.stack(expected), rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(0, 3), max_size=30),
    st.integers(1, 4),
    st.sampled_from([1.0, 1.5, 2.0]),
    st.sampled_from(ORDERS),
    st.booleans(),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_each_group_as_if_alone(
    labels: list[int], d: int, p: float, order: float, origin: bool, pack: int, seed: int
) -> None:
    groups = torch.tensor([*labels, 0, 1, 2, 3])  # none is empty
    points = draw(groups.tolist(), d, seed)
    if seed % 2:
        points[-2:] = points[:2]  # twins within a group or across groups
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_groups, "_PACK", pack)
        values = magnitude_of_groups(points, groups, 1.3, p, origin=origin)
        spreads = spread_of_groups(points, groups, 1.3, order, p, origin=origin)
    alone = [points[groups == group] for group in range(4)]
    close(values, [magnitude(one, 1.3, p, origin=origin) for one in alone])
    close(spreads, [spread(one, 1.3, order, p, origin=origin) for one in alone])


@pytest.mark.parametrize(("p", "origin"), [(1.0, True), (2.0, False)])
def test_gradients(p: float, origin: bool) -> None:
    groups = torch.tensor([0, 1, 0, 2, 1, 0])
    points = draw(groups.tolist(), 2).requires_grad_()
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for function in (
        lambda x, t: magnitude_of_groups(x, groups, t, p, origin=origin),
        lambda x, t: spread_of_groups(x, groups, t, 0.0, p, origin=origin),
        lambda x, t: spread_of_groups(x, groups, t, 2.5, p, origin=origin),
    ):
        assert gradcheck(function, (points, scale))
        assert gradgradcheck(function, (points, scale))
        slope, again = (torch.autograd.grad(function(points, scale).sum(), points, create_graph=g)[0] for g in (0, 1))
        torch.testing.assert_close(again.detach(), slope)  # the way that is taken for second derivatives
    assert gradcheck(lambda x: spread_of_groups(x, groups, 0.7, math.inf, p, origin=origin), (points,))


def test_equal_points_share_the_gradient_beside_a_larger_group() -> None:
    triangle = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]], dtype=torch.float64)
    others = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = triangle.clone().requires_grad_()
    spread(alone, 1.0, math.inf).backward()
    together = torch.cat([triangle, others]).requires_grad_()
    spread_of_groups(together, torch.tensor([0] * 3 + [1] * 6), 1.0, math.inf)[0].backward()
    torch.testing.assert_close(together.grad[:3], alone.grad)


def test_near_twins_of_different_groups_do_not_meet() -> None:
    base = draw([0] * 40)
    points, groups = torch.cat([base, base, base + 1e-9]).requires_grad_(), torch.arange(3).repeat_interleave(40)
    value = magnitude_of_groups(points, groups)
    close(value.detach(), [magnitude(base)] * 2 + [magnitude(base + 1e-9)])
    slope = torch.autograd.grad(value.sum(), points)[0].view(3, 40, 3)
    leaf = base.requires_grad_()
    (alone,) = torch.autograd.grad(magnitude(leaf), leaf)
    for one in slope:
        torch.testing.assert_close(one, alone, rtol=1e-6, atol=1e-8)


def test_packs_hold_all_groups_in_order() -> None:
    sizes = [100, 100, 100, 300, 5, 256, 1, 1]
    packs = [range(8)[pack] for pack in _groups._packs(sizes)]
    assert [list(pack) for pack in packs] == [[0, 1], [2], [3], [4], [5], [6, 7]]
    assert list(_groups._packs([])) == []


def test_precision_and_no_points() -> None:
    for function in (magnitude_of_groups, spread_of_groups):
        value = function(torch.randn(4, 2).bfloat16(), torch.tensor([1, 0, 1, 0]))
        assert value.dtype == torch.bfloat16
        assert function(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize(
    ("points", "groups", "said"),
    [
        (torch.zeros(3, 2), torch.tensor([0, 1]), r"shape \(2,\).*3 points"),
        (torch.zeros(2, 3, 2), torch.tensor([0, 1]), r"points of shape \(2, 3, 2\)"),
        (torch.zeros(2, 2), torch.tensor([0.0, 1.0]), "float32.*whole number"),
        (torch.zeros(2, 2), torch.tensor([0, 2]), "leave out a number"),
        (torch.zeros(2, 2), torch.tensor([-1, 0]), "negative"),
    ],
)
def test_bad_groups(points: torch.Tensor, groups: torch.Tensor, said: str) -> None:
    for function in (magnitude_of_groups, spread_of_groups):
        with pytest.raises(InputError, match=said):
            function(points, groups)
    with pytest.raises(InputError, match="order = -1"):
        spread_of_groups(torch.zeros(2, 2), torch.tensor([0, 1]), order=-1.0)
