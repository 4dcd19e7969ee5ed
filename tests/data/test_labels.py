"""Classes from categories, thresholds and bins."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.data.labels import MAX_INTEGER_CLASSES, make_labels
from matcard.errors import InputError, MatcardWarning
from matcard.table_files import LISTS


def test_threshold_belongs_to_the_class_above():
    labels = make_labels(pd.Series([2.999, 3.0, 3.1, np.nan, -1]), threshold=3, target="gap")
    assert labels.class_names == ("gap < 3", "gap >= 3")
    assert labels.codes.tolist() == [0, 1, 1, -1, 0]
    assert labels.codes.dtype == np.int64


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-5, 5) | st.none(), min_size=4, max_size=30), st.sets(st.integers(-4, 4), min_size=1))
def test_bins_are_half_open(values, cuts):
    edges = sorted(float(cut) for cut in cuts)
    # One value in each class, so that none is empty.
    values = [edges[0] - 1, *edges, *values]
    labels = make_labels(pd.Series(values, dtype=object), bins=edges, target="x")
    assert len(labels.class_names) == len(edges) + 1
    for value, code in zip(values, labels.codes, strict=True):
        assert code == (-1 if value is None else sum(value >= edge for edge in edges))


def test_names_of_bins():
    labels = make_labels(pd.Series([0, 1, 2, 9]), bins=[0.5, 2, 4.25], target="gap")
    assert labels.class_names == ("gap < 0.5", "0.5 <= gap < 2", "2 <= gap < 4.25", "gap >= 4.25")


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (["b", "a", None, "b"], ("a", "b"), [1, 0, -1, 1]),
        (["b", " ", "", "a"], ("a", "b"), [1, -1, -1, 0]),
        ([1.0, 0.0, math.nan, 1.0], ("0", "1"), [1, 0, -1, 1]),
        ([10, 9, 2], ("2", "9", "10"), [2, 1, 0]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        ([True, None, False], ("False", "True"), [1, -1, 0]),
        (["3", "20"], ("20", "3"), [1, 0]),
    ],
)
def test_categories(values, names, codes):
    labels = make_labels(pd.Series(values), target="kind")
    assert labels.class_names == names
    assert labels.codes.tolist() == codes


def test_pandas_categories_and_nullable_types():
    labels = make_labels(pd.Series(["x", None, "y"], dtype="category"), target="kind")
    assert labels.codes.tolist() == [0, -1, 1]
    labels = make_labels(pd.Series([1, None, 0], dtype="Int64"), target="kind")
    assert (labels.class_names, labels.codes.tolist()) == (("0", "1"), [1, -1, 0])
    labels = make_labels(pd.Series([1.5, None, 0.5], dtype="Float64"), threshold=1, target="kind")
    assert labels.codes.tolist() == [1, -1, 0]
    labels = make_labels(pd.Series([True, None, False], dtype="boolean"), target="kind")
    assert labels.codes.tolist() == [1, -1, 0]


def test_other_rows_get_the_same_classes():
    words = make_labels(pd.Series(["b", "a"]), target="kind")
    assert words.encode(pd.Series(["a", "c", None, "b"])).tolist() == [0, -1, -1, 1]
    numbers = make_labels(pd.Series([1.0, 4.0]), threshold=3, target="gap")
    assert numbers.encode(pd.Series([np.nan, 3.0, "2.5"], dtype=object)).tolist() == [-1, 1, 0]
    assert words.encode(pd.Series([], dtype=object)).shape == (0,)
    # The same category whether its column came as whole numbers or, for a missing one, as floats.
    flags = make_labels(pd.Series([0, 1]), target="is_metal")
    assert flags.encode(pd.Series([1.0, np.nan, 0.0])).tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.5, 2.5], {}, r"gap is numeric \(2 values from 1.5 to 2.5\); .* --data.threshold X or --data.bins a,b,c"),
        (list(range(MAX_INTEGER_CLASSES + 1)), {}, "gap is numeric"),
        ([1.0, math.inf], {}, "gap is numeric"),
        (
            [1.0, 2.0],
            {"threshold": 5},
            r"all 2 rows .* one class, 'gap < 5'; choose another --data.threshold \(gap runs",
        ),
        (["a", "a", None], {}, "all 2 rows with a value are of one class, 'a'; name another --data.target"),
        ([None, None], {}, "gap is missing in all 2 rows"),
        ([math.nan], {"threshold": 3}, "gap is missing in all 1 rows"),
        ([], {}, "gap is missing in all 0 rows"),
        ([1.0, 9.0], {"bins": [2, 4]}, "no row is in '2 <= gap < 4'; choose another --data.bins"),
        ([1.0, 9.0], {"bins": [4, 2]}, "--data.bins 4,2: finite numbers in increasing order"),
        ([1.0, 9.0], {"bins": [2, 2]}, "--data.bins 2,2: finite numbers in increasing order"),
        ([1.0, 9.0], {"bins": []}, "--data.bins is empty"),
        ([1.0, 9.0], {"threshold": math.nan}, "--data.threshold nan"),
        (
            ["1.0", "metal"],
            {"threshold": 1},
            r"gap: 1 of 2 fields are no finite numbers, 'metal' in row 2; .*leave out --data.threshold",
        ),
        ([f"id{k}" for k in range(30)], {}, "gap has 30 distinct values in 30 rows, too many for classes"),
    ],
)
def test_refusals(values, options, message):
    with pytest.raises(InputError, match=message):
        make_labels(pd.Series(values, dtype=object if None in values else None), **options, target="gap")


def test_real_targets(test_data):
    columns = pd.read_parquet(
        test_data / "mp_icsd20.parquet", columns=["gap", "crystal_system", "point_group", "nsites"]
    )
    gap = make_labels(columns["gap"], threshold=3.0, target="gap")
    assert np.bincount(gap.codes + 1).tolist() == [21_723 - 18_436, 18_436 - 1_767, 1_767]
    systems = make_labels(columns["crystal_system"], target="crystal_system")
    assert dict(zip(systems.class_names, np.bincount(systems.codes), strict=True))["triclinic"] == 482
    assert len(make_labels(columns["point_group"], target="point_group").class_names) == 32
    assert make_labels(columns["nsites"], target="nsites").class_names == tuple(map(str, range(1, 21)))


# ---- words as people write them


@pytest.mark.parametrize(
    "spelt",
    ["cscl ", " cscl", "cscl\u00a0", "\u2009cscl\t", "\ufeffcscl", "cscl\u200b"],
)
def test_blanks_at_either_end_make_no_class(spelt):
    labels = make_labels(pd.Series(["cscl", spelt, "rocksalt", spelt]), target="phase")
    assert labels.class_names == ("cscl", "rocksalt")
    assert labels.codes.tolist() == [0, 0, 1, 0]
    assert labels.encode(pd.Series([spelt, "rocksalt "])).tolist() == [0, 1]


def test_unicode_forms_and_kinds_of_blanks_within_make_no_class():
    values = ["ze\u0301olithe", "z\u00e9olithe", "open\u00a0frame", "open frame", "open  frame"]
    labels = make_labels(pd.Series(values), target="phase")
    assert labels.class_names == ("open frame", "z\u00e9olithe")
    assert labels.codes.tolist() == [1, 1, 0, 0, 0]


def test_classes_that_differ_by_case_alone_are_told():
    with pytest.warns(MatcardWarning, match=r"phase: 'Rocksalt' and 'rocksalt' differ in upper and lower case alone"):
        labels = make_labels(pd.Series(["Rocksalt", "rocksalt", "cscl"]), target="phase")
    assert len(labels.class_names) == 3


@pytest.mark.parametrize(
    "word", ["na", "NA", "N/A", "n/a", "none", "None", "null", "NULL", "NaN", "-", "?", "#N/A", " na "]
)
def test_words_for_missing_numbers(word):
    labels = make_labels(pd.Series([1.5, word, "4", None], dtype=object), threshold=3, target="gap")
    assert labels.codes.tolist() == [0, -1, 1, -1]
    assert labels.encode(pd.Series([word, "3.5"])).tolist() == [-1, 1]


def test_words_for_missing_values_among_words_are_told():
    with pytest.warns(MatcardWarning, match=r"order: '-', 'none' is taken for a missing value"):
        labels = make_labels(pd.Series(["FM", "none", "AFM", "-", "", None]), target="order")
    assert labels.class_names == ("AFM", "FM")
    assert labels.codes.tolist() == [1, -1, 0, -1, -1, -1]


@pytest.mark.parametrize("options", [{"threshold": 3.0}, {"bins": [1.0, 3.0]}, {"window": (1.0, 3.0)}, {}])
def test_a_few_words_among_numbers_are_listed_by_row(options):
    values = pd.Series([*[0.5 * k for k in range(40)], "1,5", "about 3"], dtype=object)
    where = [f"t.csv line {k + 2}" for k in range(42)]
    with pytest.raises(InputError, match=r"gap: 2 of 42 fields are no finite numbers, '1,5' in t.csv line 42, 'about"):
        make_labels(values, **options, target="gap", where=where)
    with pytest.raises(InputError, match="'1,5' in row 41"):
        make_labels(values, **options, target="gap")


def test_of_many_words_among_numbers_not_all_are_listed():
    values = pd.Series([*range(400), *["x"] * 100], dtype=object)
    with pytest.raises(InputError, match=r"100 of 500 fields .* and \d+ more; correct them") as told:
        make_labels(values, threshold=3, target="gap")
    assert len(str(told.value)) < 2000


def test_lists_are_no_labels():
    with pytest.raises(InputError, match=r"setting holds lists in 2 rows, the first in row 1; a label is one word"):
        make_labels(pd.Series([LISTS, LISTS, "a"]), target="setting")
