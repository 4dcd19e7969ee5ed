"""How many distinct samples a class has: by the definition, against the scale, and what is said of copies."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.batch import directions
from matcard.data.draws import FEW, SCALES, Distinct, unit
from matcard.files import tuples

SEEDS = st.integers(0, 2**31)


def draw(n: int, f: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, f))


def spacing(points: torch.Tensor) -> np.ndarray:
    x = points.double().numpy()
    return np.linalg.norm(x[:, None] - x, axis=-1)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 30), st.floats(0.3, 40), st.floats(0.1, 3), SEEDS)
def test_distinct_samples_of_each_class(n: int, scale: float, length: float, seed: int) -> None:
    points = torch.from_numpy(draw(n, 3, seed))
    classes = np.random.default_rng(seed).integers(0, 3, n)
    similar = np.exp(-scale * spacing(points) / length) * (classes[:, None] == classes)
    expected = np.bincount(classes, weights=1 / similar.sum(1), minlength=4)
    found = Distinct.count(points, classes, "abcd", scale=scale, length=length)
    np.testing.assert_allclose(found.here, expected, rtol=1e-8)


def copies() -> Distinct:
    """69 samples of class a, 29 of them distinct, and 41 of class b, one over and over; none of class c."""
    base = draw(30, 6)
    points = directions(np.concatenate([base, np.repeat(base[:2], 40, axis=0)]))
    classes = np.array([0, 1, *[0] * 28, *[0] * 40, *[1] * 40])
    return Distinct.count(points, classes, "abc", length=unit(points))


def test_classes_that_repeat_themselves() -> None:
    distinct = copies()
    np.testing.assert_allclose(distinct.here, [29, 1, 0], rtol=0.05)
    (said,) = distinct.warnings("crystals")
    assert said.startswith("class 'b': its 41 crystals count as about 1 distinct at scale 30, ")
    assert not Distinct(("few",), (2,), 30.0, (30.0,), ((0.1,),)).warnings()


def test_more_are_distinct_at_larger_scales_and_all_that_differ_in_the_end() -> None:
    distinct = copies()
    assert distinct.scales == SCALES
    assert (np.diff(distinct.numbers, axis=0) >= -1e-9).all()
    np.testing.assert_allclose(distinct.shares[:, :2], np.array(distinct.numbers)[:, :2] / [69, 41])
    assert np.isnan(distinct.shares[:, 2]).all()


def test_it_is_kept_as_json() -> None:
    assert Distinct(**tuples(json.loads(json.dumps(asdict(copies()))))) == copies()


@pytest.mark.parametrize(("n", "scales"), [(20, 9), (FEW + 1, 1)])
def test_of_many_only_the_chosen_scale(n: int, scales: int) -> None:
    found = Distinct.count(torch.from_numpy(draw(n, 2)), np.arange(n) % 2, ["a", "b"], scale=7.0)
    assert len(found.scales) == len(found.numbers) == scales
    np.testing.assert_allclose(found.here, found.numbers[found.scales.index(7.0)])
