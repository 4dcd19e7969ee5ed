"""Imbalance by design: the profiles of the literature, and what is cut."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.data.imbalance import make_imbalanced, profile
from matcard.data.options import ImbalanceOptions
from matcard.data.splits import Split
from matcard.errors import InputError, MatcardWarning

few = settings(deadline=None, max_examples=40)
KINDS = ("exp", "step", "ratio")


def parts(counts: list[int], seed: int = 0) -> tuple[Split, np.ndarray]:
    """Samples of which every fifth is validation and every fifth test, the training part having these counts."""
    codes = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.repeat(np.arange(len(counts)), 4)])
    order = np.random.default_rng(seed).permutation(len(codes))
    place = np.argsort(order)
    train = sum(counts)
    split = Split(np.sort(place[:train]), np.sort(place[train::2]), np.sort(place[train + 1 :: 2]), "random", seed)
    return split, codes[order]


def test_cifar_10_with_a_long_tail_has_the_counts_of_the_literature():
    split, codes = parts([5000] * 10)
    cut = make_imbalanced(split, codes, ImbalanceOptions(kind="exp", factor=100), seed=1)
    assert np.bincount(codes[cut.train]).tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    step = make_imbalanced(split, codes, ImbalanceOptions(kind="step", factor=10), seed=1)
    assert np.bincount(codes[step.train]).tolist() == [5000] * 5 + [500] * 5


@few
@given(
    st.lists(st.integers(1, 400), min_size=2, max_size=8),
    st.sampled_from(KINDS),
    st.floats(1, 50),
)
def test_the_part_is_the_largest_with_these_proportions(counts, kind, factor):
    split, codes = parts(counts)
    options, counts = ImbalanceOptions(kind=kind, factor=factor), np.array(counts)
    shares = profile(options, len(counts))
    assert shares.max() == 1.0
    assert shares.min() == pytest.approx(1 / factor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatcardWarning)  # a factor beyond what there is
        sizes = np.bincount(codes[make_imbalanced(split, codes, options, seed=0).train])
    assert (sizes <= counts).all()
    assert (sizes >= 1).all()
    largest = min(count / share for count, share in zip(counts, shares, strict=True))
    for size, share in zip(sizes.tolist(), shares.tolist(), strict=True):
        assert size == max(1, int(largest * share + 1e-9))
    assert (sizes == counts).any(), "one more sample of that class and the part could grow"


def test_profiles_by_hand():
    by_kind = {kind: profile(ImbalanceOptions(kind=kind, factor=16), 5).tolist() for kind in KINDS}
    assert by_kind["exp"] == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16])
    assert by_kind["step"] == [1, 1, 1, 1 / 16, 1 / 16]
    assert by_kind["ratio"] == [1, 1 / 16, 1 / 16, 1 / 16, 1 / 16]


def test_a_majority_of_80_per_cent_among_ten_classes():
    split, codes = parts([300] * 10)
    cut = make_imbalanced(split, codes, ImbalanceOptions(kind="ratio", factor=36), seed=0)
    share = np.bincount(codes[cut.train]) / len(cut.train)
    assert share[0] == pytest.approx(0.8, abs=0.01)
    assert share[1:].max() == share[1:].min()


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_training_part_is_cut_and_nothing_is_lost(kind):
    split, codes = parts([40, 60, 50])
    cut = make_imbalanced(split, codes, ImbalanceOptions(kind=kind, factor=4), seed=3)
    np.testing.assert_array_equal(cut.val, split.val)
    np.testing.assert_array_equal(cut.test, split.test)
    assert not np.intersect1d(cut.train, cut.cut).size
    np.testing.assert_array_equal(np.union1d(cut.train, cut.cut), split.train)
    ids = [f"s{i}" for i in range(len(codes))]
    again = Split.from_json(cut.to_json(ids), ids)
    for part in ("train", "val", "test", "cut"):
        np.testing.assert_array_equal(getattr(again, part), getattr(cut, part))


def test_the_seed_decides_what_is_cut():
    split, codes = parts([80, 80, 80])
    options = ImbalanceOptions(kind="exp", factor=8)
    first, again, other = (make_imbalanced(split, codes, options, seed=seed).train for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_a_stronger_cut_keeps_a_weaker_one_keeps_too():
    split, codes = parts([80, 80, 80])
    weak, strong = (make_imbalanced(split, codes, ImbalanceOptions(kind="step", factor=f), seed=0) for f in (2, 20))
    assert np.isin(strong.train, weak.train).all()


def test_a_factor_beyond_what_there_is_leaves_one_sample_and_is_said():
    split, codes = parts([40, 30])
    made = make_imbalanced(split, codes, ImbalanceOptions(kind="ratio", factor=40), seed=0)
    assert np.bincount(codes[made.train]).tolist() == [40, 1]
    with pytest.warns(MatcardWarning, match=r"factor 41 is more than the training part holds.* keep 40 to 1 samples"):
        made = make_imbalanced(split, codes, ImbalanceOptions(kind="ratio", factor=41), seed=0)
    assert np.bincount(codes[made.train]).tolist() == [40, 1]


def test_a_part_of_the_training_part_is_a_beginning_of_a_larger_one():
    split, codes = parts([80, 80, 80])
    few, more = (make_imbalanced(split, codes, ImbalanceOptions(samples=n), seed=0) for n in (20, 70))
    assert (len(few.train), len(more.train)) == (20, 70)
    assert np.isin(few.train, more.train).all()
    np.testing.assert_array_equal(np.union1d(few.train, few.cut), split.train)
    np.testing.assert_array_equal(few.test, split.test)
    assert len(make_imbalanced(split, codes, ImbalanceOptions(samples=1000), seed=0).train) == len(split.train)
    both = make_imbalanced(split, codes, ImbalanceOptions(kind="step", factor=4, samples=60), seed=0)
    whole = make_imbalanced(split, codes, ImbalanceOptions(kind="step", factor=4), seed=0)
    assert len(both.train) == 60
    assert np.isin(both.train, whole.train).all()


def test_no_imbalance_cuts_nothing():
    split, codes = parts([8, 9])
    assert make_imbalanced(split, codes, ImbalanceOptions(), seed=0) is split


def test_a_class_without_training_samples_is_refused():
    codes = np.array([0, 0, 1, 2])
    split = Split(np.array([0, 1, 3]), np.array([2]), np.array([], dtype=int), "random", 0)
    with pytest.raises(InputError, match="class number 1 has no training sample"):
        make_imbalanced(split, codes, ImbalanceOptions(kind="exp"), seed=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "expo"}, "did you mean exp"),
        ({"kind": "exp", "factor": 0.5}, "factor is 0.5: expected a number of 1 or more"),
        ({"kind": "exp", "factor": float("nan")}, "factor is nan"),
        ({"samples": 0}, "--data.imbalance.samples is 0: expected a whole number of 1 or more"),
    ],
)
def test_options_out_of_range(options, says):
    with pytest.raises(InputError, match=says):
        ImbalanceOptions(**options)
