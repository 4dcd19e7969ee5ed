"""Samplers: what is drawn how often, and that seed and epoch decide it."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from scipy.stats import chisquare
from torch.utils.data import WeightedRandomSampler

from matcard.data.draws import POWERS, EpochSampler, by_class

TARGETS = np.repeat([0, 1, 2], [900, 90, 10])


def sampler_of(kind: str, seed: int) -> EpochSampler:
    return EpochSampler(len(TARGETS), partial(by_class, TARGETS, kind), seed=seed)


def class_shares(positions) -> np.ndarray:
    return np.bincount(TARGETS[positions], minlength=3) / len(positions)


@pytest.mark.parametrize(
    ("kind", "weights"), [("class-aware", [1, 1, 1]), ("square-root", [900**0.5, 90**0.5, 10**0.5])]
)
def test_classes_come_in_the_published_proportion(kind, weights) -> None:
    sampler = sampler_of(kind, 3)
    positions = []
    for epoch in range(20):
        sampler.set_epoch(epoch)
        positions += list(sampler)
    expected = np.array(weights) / np.sum(weights)
    # 20,000 draws: four standard errors.
    assert np.abs(class_shares(positions) - expected).max() < 4 * (0.25 / len(positions)) ** 0.5


def epochs(kind: str, number: int) -> np.ndarray:
    sampler = sampler_of(kind, 2)
    drawn = []
    for epoch in range(number):
        sampler.set_epoch(epoch)
        drawn += list(sampler)
    return np.array(drawn)


def agrees(drawn: np.ndarray, expected: np.ndarray) -> None:
    """Pearson's chi-squared test of class counts; a right sampler fails it once in a million seeds."""
    counts = np.bincount(TARGETS[drawn], minlength=3)
    assert chisquare(counts, expected / expected.sum() * len(drawn)).pvalue > 1e-6


def test_class_aware_draws_in_the_proportion_of_imbalanced_learn() -> None:
    _, resampled = RandomOverSampler(random_state=0).fit_resample(np.arange(len(TARGETS))[:, None], TARGETS)
    agrees(epochs("class-aware", 30), np.bincount(resampled))


def test_square_root_draws_in_the_proportion_of_imbalanced_learn() -> None:
    """The square roots of counts a hundred times as large are whole, or nearly: 300, 95, 32."""
    many = np.repeat(TARGETS, 100)
    wanted = {label: round(count**0.5) for label, count in Counter(many.tolist()).items()}
    rows, resampled = RandomUnderSampler(sampling_strategy=wanted, random_state=0).fit_resample(
        np.arange(len(many))[:, None], many
    )
    assert len(np.unique(rows)) == len(rows)
    agrees(epochs("square-root", 30), np.bincount(resampled))


@pytest.mark.parametrize("kind", ["class-aware", "square-root"])
def test_each_sample_comes_as_often_as_from_torchs_weighted_sampler(kind) -> None:
    number = 200
    weights = np.bincount(TARGETS).astype(float)[TARGETS] ** (POWERS[kind] - 1)
    torch.manual_seed(0)
    theirs = list(WeightedRandomSampler(weights.tolist(), number * len(TARGETS)))
    mean = weights / weights.sum() * number * len(TARGETS)
    for drawn in (epochs(kind, number), theirs):
        counts = np.bincount(drawn, minlength=len(TARGETS))
        # Six standard deviations of a Poisson count; ours vary less, since none repeats before all have come.
        assert (np.abs(counts - mean) < 6 * mean**0.5).all()


def test_shuffle_gives_each_sample_once() -> None:
    order = list(sampler_of("shuffle", 1))
    assert sorted(order) == list(range(len(TARGETS)))
    assert order != sorted(order)


@pytest.mark.parametrize("kind", POWERS)
def test_seed_and_epoch_alone_decide(kind) -> None:
    sampler = sampler_of(kind, 5)
    first = list(sampler)
    assert len(first) == len(sampler) == len(TARGETS)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    resumed = sampler_of(kind, 5)
    resumed.set_epoch(1)
    assert list(resumed) == list(sampler)
    assert list(sampler_of(kind, 6)) != first


@given(
    targets=st.lists(st.sampled_from([0, 2, 7]), min_size=1, max_size=40),
    kind=st.sampled_from(["square-root", "class-aware"]),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=30)
def test_none_comes_again_before_all_of_its_class_have_come(targets, kind, seed) -> None:
    labels = np.array(targets)
    drawn = by_class(labels, kind, np.random.default_rng(seed))
    for label in set(targets):
        own = [position for position in drawn if labels[position] == label]
        times = Counter(own)
        assert max(times.values(), default=0) - min(times[i] for i in np.flatnonzero(labels == label)) <= 1
