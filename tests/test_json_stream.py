"""JSON read value by value is what the parser of Python gives for the whole, wherever blocks end."""

from __future__ import annotations

import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.errors import InputError
from matcard.table_files import JsonStream

TRICKY = st.text(alphabet='NaN"\\,:[]{} n\n\u00e4\u2212', max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-999, 999) | st.just(0.5) | TRICKY
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4), max_leaves=20
)


def stream_of(text, block, tmp_path="rows.json"):
    stream = JsonStream(io.BytesIO(text), tmp_path)
    stream._BLOCK = block
    return stream


@settings(deadline=None, max_examples=80)
@given(rows=st.lists(VALUES, max_size=6), block=st.integers(1, 40), plain=st.booleans(), marked=st.booleans())
def test_items_of_a_list(rows, block, plain, marked):
    text = json.dumps(rows, ensure_ascii=plain, indent=1 if block % 2 else None)
    stream = stream_of(text.encode("utf-8-sig" if marked else "utf-8"), block)
    assert stream.peek() == "["
    assert list(stream.items()) == rows
    assert stream.peek() == ""


@settings(deadline=None, max_examples=80)
@given(entries=st.dictionaries(TRICKY, VALUES, max_size=5), block=st.integers(1, 40))
def test_entries_of_an_object(entries, block):
    stream = stream_of(json.dumps(entries).encode(), block)
    assert {key: stream.value() for key in stream.entries()} == entries


@pytest.mark.parametrize("text", ['[1, 2, {"a": ]', "[1, 2, 3", "[1, 2 3]", "[1, 2, oops]"])
def test_what_is_broken_is_told_by_the_row_before(text):
    with pytest.raises(InputError, match=r"broken after row [23]"):
        list(stream_of(text.encode(), 4).items())


def test_nan_is_a_number():
    (row,) = stream_of(b'[["NaN", NaN]]', 5).items()
    assert row[0] == "NaN"
    assert math.isnan(row[1])
