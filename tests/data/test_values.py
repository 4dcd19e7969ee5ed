"""Numbers as targets: found where classes are made of them, with what is missing, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from matcard.data.labels import make_labels, value_columns
from matcard.errors import InputError

COLUMNS = pd.DataFrame(
    {
        "gap": [0.0, 1.0, 3.0, 5.5, None],
        "phase": list("abaab"),
        "energy": ["-1", "2.5", " ", "n/a", "1e3"],
        "wrong": [1, 2, np.inf, 4, 5],
    }
)


def labels_of(target: str, **how):
    return make_labels(COLUMNS[target], target=target, **how)


def test_classes_of_a_threshold() -> None:
    found = value_columns(COLUMNS, labels_of("gap", threshold=3.0))
    assert found.names == ("gap",)
    np.testing.assert_array_equal(found.numbers[:, 0], [0, 1, 3, 5.5, np.nan])
    assert (found.edges, found.classes) == ((3.0,), (0, 1))


@pytest.mark.parametrize(
    ("how", "intervals"),
    [({"bins": [1.0, 3.0]}, (0, 1, 2)), ({"window": (1.0, 3.0)}, (0, 1, 0)), ({"threshold": 0.5}, (0, 1))],
)
def test_the_intervals_are_those_of_the_classes(how: dict, intervals: tuple[int, ...]) -> None:
    labels = labels_of("gap", **how)
    found = value_columns(COLUMNS, labels)
    assert found.classes == intervals
    codes = np.array(found.classes)[np.digitize(found.numbers[:-1, 0], found.edges)]
    np.testing.assert_array_equal(codes, labels.codes[:-1])


def test_auxiliary_columns_follow() -> None:
    found = value_columns(COLUMNS, labels_of("gap", threshold=3.0), ["energy"])
    assert found.names == ("gap", "energy")
    np.testing.assert_array_equal(found.numbers[[4, 0, 2]], [[np.nan, 1000], [0, -1], [3, np.nan]])


def test_categories_have_no_number_behind_them() -> None:
    assert value_columns(COLUMNS, labels_of("phase")) is None
    found = value_columns(COLUMNS, labels_of("phase"), ["gap"])
    assert (found.names, found.edges, found.classes) == (("gap",), (), ())


@pytest.mark.parametrize(
    ("auxiliary", "said"),
    [
        (["enrgy"], r"no column 'enrgy'; did you mean energy"),
        (["gap"], "not the target, 'gap'"),
        (["energy", "energy"], "name each column once"),
        (["phase"], r"--data\.auxiliary phase: 5 of 5 fields are no finite numbers, 'a' in t\.csv line 2, 'b' in"),
        (["wrong"], r"--data\.auxiliary wrong: 1 of 5 fields are no finite numbers, 'inf' in t\.csv line 4; correct"),
    ],
)
def test_columns_that_are_refused(auxiliary: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        value_columns(COLUMNS, labels_of("gap", threshold=3.0), auxiliary, [f"t.csv line {k}" for k in range(2, 7)])
