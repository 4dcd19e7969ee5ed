from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sample_cases import coded, of_crystals, of_rows
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from matcard.crystals.crystals import Crystals, offsets_from_counts
from matcard.data.options import DataOptions, SplitOptions
from matcard.data.splits import PARTS, Split, make_split, seen_note, split_samples
from matcard.errors import InputError, MatcardWarning

FRACTIONS = (0.7, 0.15, 0.15)
few = settings(deadline=None, max_examples=40)


def quiet_split(codes, groups, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatcardWarning)
        return make_split(np.asarray(codes), np.asarray(groups), **options)


def part_of(split, n):
    part = np.full(n, -1)
    for k, name in enumerate(PARTS):
        assert (part[getattr(split, name)] == -1).all()
        part[getattr(split, name)] = k
    return part


def table_of(formulas, **columns):
    """Crystals of one formula unit each, in cells too large for sites to meet."""
    from pymatgen.core import Composition

    contents = [[e.Z for e, n in Composition(f).items() for _ in range(int(n))] for f in formulas]
    sites = [np.column_stack([np.arange(len(z)) / len(z), np.zeros((len(z), 2))]) for z in contents]
    n = len(formulas)
    crystals = Crystals(
        np.array([f"c{i}" for i in range(n)], dtype=object),
        np.tile(20.0 * np.eye(3), (n, 1, 1)),
        offsets_from_counts(np.array([len(z) for z in contents])),
        np.concatenate(contents).astype(np.uint8),
        np.concatenate(sites),
    )
    return of_crystals(crystals, **columns)


@st.composite
def samples(draw, one_class_a_group=False, fewest_groups=3):
    """Classes and groups of up to 120 samples; groups of several classes unless told otherwise."""
    n = draw(st.integers(fewest_groups, 120))
    classes = draw(st.integers(1, 5))
    group = np.array(draw(st.lists(st.integers(0, draw(st.integers(2, 60))), min_size=n, max_size=n)))
    group[:fewest_groups] = range(fewest_groups)
    if one_class_a_group:
        of_group = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=61, max_size=61)))
        return of_group[group], group
    return np.array(draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))), group


@few
@given(samples(), st.integers(0, 5))
def test_parts_are_disjoint_complete_and_share_no_group(data, seed):
    codes, groups = data
    split = quiet_split(codes, groups, seed=seed)
    part = part_of(split, len(codes))
    assert (part >= 0).all()
    for group in np.unique(groups):
        assert len(np.unique(part[groups == group])) == 1
    for name in PARTS:
        positions = getattr(split, name)
        assert len(positions) > 0
        assert (np.diff(positions) > 0).all()


@few
@given(samples(fewest_groups=8), st.integers(2, 3), st.integers(0, 5))
def test_folds_share_no_group_and_cover_everything_once(data, folds, seed):
    codes, groups = data
    assume(np.bincount(groups).max() <= len(codes) / 4)  # else nothing is left to divide beside a fold
    splits = []
    for fold in range(folds):
        splits.append(quiet_split(codes, groups, seed=seed, fold=fold, folds=folds))
    tests = np.concatenate([split.test for split in splits])
    assert sorted(tests) == list(range(len(codes)))
    for fold, split in enumerate(splits):
        assert (split.fold, split.folds) == (fold, folds)
        part = part_of(split, len(codes))
        assert all(len(np.unique(part[groups == group])) == 1 for group in np.unique(groups))


@few
@given(samples(one_class_a_group=True), st.integers(0, 5))
def test_every_class_of_three_groups_is_in_every_part(data, seed):
    codes, groups = data
    part = part_of(quiet_split(codes, groups, seed=seed), len(codes))
    for c in np.unique(codes):
        number = len(np.unique(groups[codes == c]))
        assert len(np.unique(part[codes == c])) == min(3, number)


def test_a_class_that_a_part_lacks_is_told_by_name():
    codes = np.array([0] * 9 + [1])
    with pytest.warns(MatcardWarning) as told:
        make_split(codes, np.arange(10), class_names=["cubic", "triclinic"])
    assert ["no sample of class triclinic:" in str(w.message) for w in told] == [True, True]


@few
@given(samples(), st.integers(0, 5))
def test_a_class_that_a_part_lacks_is_told(data, seed):
    codes, groups = data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        part = part_of(make_split(codes, groups, seed=seed), len(codes))
    for k, name in enumerate(PARTS):
        missing = sorted(set(codes.tolist()) - set(codes[part == k].tolist()))
        told = [str(w.message) for w in caught if f"the {name} part" in str(w.message)]
        assert len(told) == (len(missing) > 0)
        if missing:
            assert f"of class {', '.join(map(str, missing))}:" in told[0]


@few
@given(st.lists(st.integers(0, 4), min_size=40, max_size=400), st.integers(0, 5))
def test_without_groups_each_class_is_divided_to_the_sample(codes, seed):
    codes = np.array(codes)
    part = part_of(quiet_split(codes, np.arange(len(codes)), seed=seed), len(codes))
    for c in np.unique(codes):
        have = np.bincount(part[codes == c], minlength=3)
        assert (np.abs(have - np.array(FRACTIONS) * have.sum()) < 2).all()
    sizes = np.bincount(part, minlength=3)
    assert (np.abs(sizes - np.array(FRACTIONS) * len(codes)) <= 1 + len(np.unique(codes))).all()


@few
@given(samples(one_class_a_group=True), st.integers(0, 5))
def test_with_groups_a_class_is_off_by_no_more_than_its_largest_group_allows(data, seed):
    codes, groups = data
    part = part_of(quiet_split(codes, groups, seed=seed), len(codes))
    for c in np.unique(codes):
        sizes = np.bincount(groups[codes == c])
        if np.count_nonzero(sizes) < 6:
            continue
        have = np.bincount(part[codes == c], minlength=3)
        assert (np.abs(have - np.array(FRACTIONS) * have.sum()) <= 2 * sizes.max()).all()


def imbalanced(n=1500, seed=0):
    """Formulas of one to eight snapshots, classes of 70, 20, 7 and 3 %, some formulas in two classes."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n // 4, n)
    of_group = rng.choice(4, n // 4, p=[0.7, 0.2, 0.07, 0.03])
    codes = np.where(rng.random(n) < 0.2, rng.choice(4, n, p=[0.7, 0.2, 0.07, 0.03]), of_group[groups])
    return codes, groups


@pytest.mark.parametrize("seed", range(3))
def test_class_shares_are_close_in_groups_of_several_classes(seed):
    codes, groups = imbalanced(seed=seed)
    split = make_split(codes, groups, seed=seed)
    for k, name in enumerate(PARTS):
        share = np.bincount(codes[getattr(split, name)], minlength=4) / np.bincount(codes)
        assert share == pytest.approx(FRACTIONS[k], abs=0.03)


def test_folds_are_balanced_better_than_those_of_scikit_learn():
    def distance(part, codes, folds):
        have = np.array([np.bincount(codes[part == k], minlength=4) for k in range(folds)])
        wanted = np.bincount(codes) / folds
        return ((have - wanted) ** 2 / wanted).sum()

    ours, theirs = [], []
    for seed in range(5):
        codes, groups = imbalanced(seed=seed)
        part, other = np.zeros((2, len(codes)), dtype=int)
        cut = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(codes, codes, groups)
        for k, (_, test) in enumerate(cut):
            other[test] = k
            part[make_split(codes, groups, seed=seed, fold=k, folds=5).test] = k
        ours.append(distance(part, codes, 5))
        theirs.append(distance(other, codes, 5))
    assert np.mean(ours) < np.mean(theirs)
    assert np.max(ours) < 1.0


def test_same_seed_same_split_other_seed_another():
    codes, groups = imbalanced()
    first, again, other = (make_split(codes, groups, seed=s) for s in (3, 3, 4))
    for name in PARTS:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    overlap = np.isin(first.test, other.test).mean()
    assert overlap < 0.5


def test_the_order_of_rows_does_not_decide_where_a_group_goes():
    codes, groups = imbalanced()
    order = np.random.default_rng(1).permutation(len(codes))
    split, shuffled = make_split(codes, groups), make_split(codes[order], groups[order])
    np.testing.assert_array_equal(np.sort(order[shuffled.test]), split.test)


def test_large_groups_are_spread_over_the_parts():
    groups = np.concatenate([np.repeat(np.arange(40), 10), 40 + np.arange(400)])
    split = make_split(np.zeros(len(groups), dtype=int), groups)
    large = [np.mean(groups[getattr(split, name)] < 40) for name in PARTS]
    assert large == pytest.approx([0.5] * 3, abs=0.06)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fractions": (0.7, 0.2, 0.2)}, "sum to 1"),
        ({"fractions": (1.0, 0.0, 0.0)}, "above 0"),
        ({"fractions": (0.5, 0.5)}, "three numbers"),
        ({"folds": 5}, "go together"),
        ({"folds": 5, "fold": 5}, "from 0 to folds - 1"),
        ({"folds": 1, "fold": 0}, "at least 2 folds"),
    ],
)
def test_impossible_splits_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        SplitOptions(**options)


def test_more_folds_than_groups_are_refused():
    with pytest.raises(InputError, match="10 groups cannot be divided into 12 parts"):
        make_split(np.arange(20) % 2, np.arange(20) % 10, folds=12, fold=0)


@pytest.mark.parametrize("groups", [[], ["a", "a"], ["a", "b", "a"]])
def test_too_few_groups_are_refused(groups):
    with pytest.raises(InputError, match=r"\d groups cannot be divided into 3 parts"):
        make_split(np.zeros(len(groups), dtype=int), np.array(groups, dtype=object))


def test_what_is_held_out_is_the_test_part_and_divides_the_rest():
    codes, groups = imbalanced()
    held = groups % 5 == 0
    split = make_split(codes, groups, held=held, fractions=(0.6, 0.2, 0.2))
    np.testing.assert_array_equal(split.test, np.flatnonzero(held))
    assert len(split.val) / (~held).sum() == pytest.approx(0.25, abs=0.01)
    assert not np.isin(groups[split.val], groups[split.train]).any()


FORMULAS = ["NaCl", "NaCl", "KCl", "FeO", "Fe2O3", "MgO", "CaO", "SrO", "BaO", "NiO", "CoO", "MnO"] * 2


def test_a_held_out_element_is_in_the_test_part_alone():
    table = table_of(FORMULAS)
    codes = np.arange(len(FORMULAS)) % 2
    split = split_samples(coded(table, codes), SplitOptions(kind="element", element="Fe"))
    assert split.kind == "element:Fe"
    assert [FORMULAS[i] for i in split.test] == ["FeO", "Fe2O3"] * 2
    in_train, in_val = ({FORMULAS[i] for i in part} for part in (split.train, split.val))
    assert in_train.isdisjoint(in_val)


@pytest.mark.parametrize(
    ("element", "says"), [("Au", "in no crystal"), ("Cl", "in every crystal"), ("Xx", "no symbol of an element")]
)
def test_an_element_that_cannot_be_held_out_is_refused(element, says):
    table = table_of(["NaCl", "KCl", "RbCl", "CsCl"])
    with pytest.raises(InputError, match=says):
        split_samples(coded(table, [0, 1, 0, 1]), SplitOptions(kind="element", element=element))


@pytest.mark.parametrize("kind", ["formula", "chemical_system", "random"])
def test_samples_are_grouped_as_the_options_say(kind):
    table = table_of(FORMULAS)
    split = split_samples(coded(table, np.arange(len(FORMULAS)) // 12), SplitOptions(kind=kind), seed=2)
    part = part_of(split, len(FORMULAS))
    assert (split.kind, split.seed) == (kind, 2)
    if kind != "random":
        assert (part[:12] == part[12:]).all()
        assert part[0] == part[1]
    if kind == "chemical_system":
        assert part[3] == part[4]


def test_split_by_column_and_by_fold():
    table = table_of(FORMULAS, lab=[f"lab {i // 4}" for i in range(24)])
    options = SplitOptions(kind="column", column="lab", folds=2, fold=1)
    split = split_samples(coded(table, np.arange(24) % 2), options)
    assert (split.kind, split.fold, split.folds) == ("column:lab", 1, 2)
    assert len(split.test) == 12
    part = part_of(split, 24).reshape(6, 4)
    assert (part == part[:, :1]).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "formulas"}, "did you mean formula"),
        ({"kind": "column"}, "--data.split.column goes with"),
        ({"column": "lab"}, "--data.split.column goes with"),
        ({"kind": "element"}, "--data.split.element goes with"),
        ({"kind": "element", "element": "Fe", "folds": 3, "fold": 0}, "leave out --data.split.folds"),
        ({"kind": "given", "folds": 3, "fold": 0}, "leave out --data.split.folds"),
        ({"seen": "test", "folds": 3, "fold": 0}, "seen test is for a test part that comes with"),
        ({"seen": "drop"}, "--data.split.seen 'drop'"),
        ({"kind": "matbench"}, "matbench has 5 folds: choose one with --data.split.fold, from 0 to 4"),
        ({"kind": "matbench", "fold": 5}, "matbench has 5 folds"),
        ({"kind": "matbench", "fold": 0, "folds": 3}, "matbench has 5 folds.* leave out --data.split.folds"),
        ({"fractions": (0.9, 0.2, -0.1)}, "above 0"),
        ({"fold": 1}, "go together"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        SplitOptions(**options)


def test_a_saved_split_is_read_back_for_rows_in_another_order():
    codes, groups = imbalanced(300)
    ids = np.array([f"id{i}" for i in range(300)], dtype=object)
    split = quiet_split(codes, groups, kind="formula", fold=1, folds=4, seed=7)
    order = np.random.default_rng(0).permutation(300)
    back = Split.from_json(split.to_json(ids), ids[order])
    for name in PARTS:
        assert set(ids[order][getattr(back, name)]) == set(ids[getattr(split, name)])
        assert (np.diff(getattr(back, name)) > 0).all()
    assert (back.kind, back.seed, back.fold, back.folds) == ("formula", 7, 1, 4)


def test_a_saved_split_of_other_or_damaged_data_is_refused():
    ids = ["a", "b", "c", "d"]
    text = Split(np.array([0, 1]), np.array([2]), np.array([3]), "formula", 0).to_json(ids)
    saved = json.loads(text)
    for wrong, says in (
        (["a", "b", "c"], "1 ids are in the split but not in the data, such as 'd'"),
        ([*ids, "e"], "1 ids are in the data but not in the split, such as 'e'"),
    ):
        with pytest.raises(InputError, match=says):
            Split.from_json(text, wrong)
    for damaged in (
        text[:-9],
        "[]",
        json.dumps({**saved, "val": 3}),
        json.dumps({key: value for key, value in saved.items() if key != "seed"}),
    ):
        with pytest.raises(InputError, match=r"runs/one/split\.json is damaged"):
            Split.from_json(damaged, ids, "runs/one/split.json")
    with pytest.raises(InputError, match="'a' is in it twice"):
        Split.from_json(json.dumps({**saved, "val": ["c", "a"]}), ids)


def official(codes, *, classified):
    """The folds as Matbench's makers define them."""
    kind = StratifiedKFold if classified else KFold
    return [test for _, test in kind(n_splits=5, shuffle=True, random_state=18012019).split(codes, codes)]


MANY = [f"{a}{x}{n}" for n in range(1, 6) for a in ("Na", "K", "Li", "Rb", "Cs") for x in ("Cl", "Br", "I", "F")]


@pytest.mark.parametrize("of_numbers", [False, True])
def test_the_folds_of_matbench_are_the_official_ones(of_numbers):
    table = table_of(MANY * 2)
    codes = (np.random.default_rng(0).random(len(table)) < 0.3).astype(int)
    for fold, expected in enumerate(official(codes, classified=not of_numbers)):
        options = SplitOptions(kind="matbench", fold=fold)
        splits = [split_samples(coded(table, codes, of_numbers=of_numbers), options, seed=seed) for seed in (0, 1)]
        for split in splits:
            np.testing.assert_array_equal(split.test, np.sort(expected))
            assert (part_of(split, len(table)) >= 0).all()
            assert (split.kind, split.groups, split.fold, split.folds) == ("matbench", "formula", fold, 5)
            formulas = np.array(MANY * 2)
            assert set(formulas[split.train]).isdisjoint(formulas[split.val])
            assert len(split.val) / (len(split.train) + len(split.val)) == pytest.approx(0.15 / 0.85, abs=0.03)
        assert not np.array_equal(splits[0].val, splits[1].val)


def test_the_folds_of_matbench_do_not_depend_on_how_classes_are_numbered():
    values = np.array([True, False, False])[np.random.default_rng(0).integers(0, 3, 4 * len(MANY))]
    for codes in (values.astype(int), 1 - values):
        for fold, expected in enumerate(official(values, classified=True)):
            split = split_samples(coded(table_of(MANY * 4), codes), SplitOptions(kind="matbench", fold=fold))
            np.testing.assert_array_equal(split.test, np.sort(expected))


@pytest.mark.parametrize("of_numbers", [False, True])
def test_the_folds_of_matbench_are_those_of_all_rows_though_some_cannot_be_used(of_numbers):
    codes = (np.random.default_rng(1).random(len(MANY)) < 0.3).astype(int)
    samples = coded(table_of(MANY), codes, of_numbers=of_numbers)
    samples.faults[[2, 30, 31]] = "bad"
    used = samples.used
    for fold, expected in enumerate(official(codes, classified=not of_numbers)):
        split = split_samples(samples, SplitOptions(kind="matbench", fold=fold))
        assert set(used[split.test]) == set(expected) - {2, 30, 31}
        assert len(split.train) + len(split.val) + len(split.test) == len(used)


def test_the_folds_of_matbench_need_the_class_of_all_rows():
    codes = np.arange(len(MANY)) % 2
    codes[[3, 8]] = -1
    options = SplitOptions(kind="matbench", fold=0)
    with pytest.raises(InputError, match=r"the classes of all rows, and 2 have none; the first is .*4"):
        split_samples(coded(table_of(MANY), codes), options)
    by_number = split_samples(coded(table_of(MANY), codes, of_numbers=True), options)
    assert len(by_number.train) + len(by_number.val) + len(by_number.test) == len(MANY) - 2


def test_a_test_part_of_its_own_goes_with_no_other():
    for split in ({"folds": 5, "fold": 1}, {"kind": "matbench", "fold": 1}, {"kind": "element", "element": "Fe"}):
        with pytest.raises(InputError, match=r"--data\.test_source is the test part: leave out"):
            DataOptions(test_source="other.csv", split=SplitOptions(**split))


@few
@given(samples(fewest_groups=9), st.sampled_from(["train", "test", "keep"]), st.integers(0, 5))
def test_of_groups_on_both_sides_of_a_given_test_part_one_side_is_cut(data, seen, seed):
    codes, groups = data
    held = np.arange(len(codes)) % 4 == 1
    both = np.isin(groups, groups[held]) & np.isin(groups, groups[~held])
    left = ~held & ~both if seen == "train" else ~held
    assume(len(np.unique(groups[left])) >= 2)
    table = rows_of(groups, held)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatcardWarning)
        split = split_samples(coded(table, codes), SplitOptions(kind="column", column="group", seen=seen), seed=seed)
    cut = {"train": both & ~held, "test": both & held, "keep": np.zeros_like(held)}[seen]
    np.testing.assert_array_equal(split.cut, np.flatnonzero(cut))
    np.testing.assert_array_equal(split.test, np.flatnonzero(held & ~cut))
    np.testing.assert_array_equal(np.union1d(split.train, split.val), np.flatnonzero(left))
    assert np.isin(groups[split.test], groups[left]).any() == bool(seen == "keep" and both.any())
    assert not np.isin(groups[split.val], groups[split.train]).any()
    assert split.seen == (both & (held if seen != "train" else ~held)).sum()
    note = seen_note(split, seen)
    assert len(note) == bool(both.any())
    back = Split.from_json(split.to_json(table.ids), table.ids)
    assert (back.seen, back.groups, back.cut.tolist()) == (split.seen, "column:group", split.cut.tolist())


def rows_of(groups, held):
    n = len(groups)
    return of_rows(np.zeros((n, 1)), {"group": groups}, held)
