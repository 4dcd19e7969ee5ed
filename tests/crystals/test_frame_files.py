"""Frames come back from disk as they were."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.crystals.frame_files import read_frame, write_frame


def again(frame, tmp_path):
    write_frame(frame, tmp_path / "t.parquet")
    return read_frame(tmp_path / "t.parquet")


COLUMNS = {
    "floats": np.array([1.5, np.nan, -np.inf]),
    "single": np.array([1.5, np.nan, 2], dtype=np.float32),
    "whole": np.array([1, 2, 3]),
    "bytes": np.array([1, 2, 255], dtype=np.uint8),
    "flags": np.array([True, False, True]),
    "nullable": pd.array([1, None, 3], dtype="Int64"),
    "kinds": pd.Categorical(["a", "b", "a"], ["b", "a", "c"]),
    "days": pd.to_datetime(["2024-01-01", None, "2025-05-05"]),
    "words": np.array(["NA", None, "é"], dtype=object),
    "empty": np.array([None, None, None], dtype=object),
    "whole objects": np.array([None, 2, 3], dtype=object),
    "flag objects": np.array([None, True, False], dtype=object),
    "mixed": np.array(["a", 2, None], dtype=object),
    "mixed numbers and words": np.array([1.5, float("nan"), "x"], dtype=object),
    "huge": np.array([2**80, 1, None], dtype=object),
    "numpy objects": np.array([np.int64(3), "x", np.float64(0.5)], dtype=object),
    "lone surrogates": np.array(["\ud800", "a", None], dtype=object),
    "dates": np.array([datetime.date(2024, 1, 2), None, None], dtype=object),
    "decimals": np.array([decimal.Decimal("1.50"), None, None], dtype=object),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_kind(tmp_path, name):
    frame = pd.DataFrame({name: COLUMNS[name]})
    pd.testing.assert_frame_equal(again(frame, tmp_path), frame)


def test_all_at_once_and_none(tmp_path):
    frame = pd.DataFrame(COLUMNS)
    pd.testing.assert_frame_equal(again(frame, tmp_path), frame)
    nothing = frame.drop(columns="kinds").iloc[:0]
    pd.testing.assert_frame_equal(again(nothing, tmp_path), nothing)
    assert again(pd.DataFrame(index=range(4)), tmp_path).shape == (4, 0)


def test_names_may_be_repeated_or_numbers(tmp_path):
    frame = pd.DataFrame([[1, "x", 2.5]], columns=["a", "a", 7])
    pd.testing.assert_frame_equal(again(frame, tmp_path), frame)


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)


@settings(deadline=None, max_examples=60)
@given(st.lists(VALUES, max_size=6))
def test_objects_of_any_mixture_are_equal(tmp_path_factory, values):
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    got = again(frame, tmp_path_factory.mktemp("frame"))["x"].tolist()
    assert [None if pd.isna(value) else value for value in got] == values  # among floats None is NaN
    assert [type(value) for value in got if not pd.isna(value)] == [
        type(value) for value in values if value is not None
    ]
