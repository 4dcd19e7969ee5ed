"""Missing numbers in JSON, which matminer writes as NaN."""

from __future__ import annotations

import io
import json
import math

import ijson
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matminer.utils.io import store_dataframe_as_json
from pymatgen.core import Lattice, Structure

from matcard.crystals.readers.json_nan import NanAsNull
from matcard.crystals.readers.read import read_crystals
from matcard.errors import InputError

TRICKY = st.text(alphabet='NaN"\\,:[]{} n\n\u00e4', max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.just(math.nan) | st.just(0.5) | TRICKY
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4), max_leaves=20
)


def without_nan(value):
    """The same value with None for NaN, the plain way."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return {key: without_nan(item) for key, item in value.items()} if isinstance(value, dict) else value


@settings(deadline=None, max_examples=60)
@given(value=VALUES, size=st.integers(1, 40), plain=st.booleans())
def test_nan_becomes_null_and_nothing_else_changes(value, size, plain):
    text = json.dumps(value, ensure_ascii=plain).encode()
    file, pieces = NanAsNull(io.BytesIO(text)), []
    assert file.read(0) == b""
    while piece := file.read(size):
        pieces.append(piece)
    read = b"".join(pieces)
    assert read.decode() == json.dumps(without_nan(value), ensure_ascii=plain)
    assert file.read(size) == b""


def test_a_streaming_parser_takes_it():
    rows = [["NaN", math.nan, 'say "NaN"', {"NaN\\": [math.nan, 1.0]}]] * 1000
    read = list(ijson.items(NanAsNull(io.BytesIO(json.dumps(rows).encode())), "item", use_float=True, buf_size=7))
    assert read == without_nan(rows)


def test_what_matminer_writes_with_missing_values_is_read(tmp_path):
    structures = [Structure(Lattice.cubic(4 + k), ["Na", "N"], [[0, 0, 0], [0.5, 0.5, 0.5]]) for k in range(3)]
    frame = pd.DataFrame(
        {"formula": ["NaN", "NaN3", "N"], "gap": [0.5, np.nan, 3.0], "modulus": np.nan, "structure": structures},
        index=["mp-1", "mp-2", "mp-3"],
    )
    path = tmp_path / "data.json.gz"
    store_dataframe_as_json(frame, str(path), compression="gz", pbar=False)
    table = read_crystals(path, target="gap")
    assert table.columns["formula"].tolist() == ["NaN", "NaN3", "N"]
    assert table.columns["gap"].isna().tolist() == [False, True, False]
    assert table.columns["modulus"].isna().all()
    assert table.crystals.ids.tolist() == ["mp-1", "mp-2", "mp-3"]


def test_infinity_is_still_an_error(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('{"columns": ["gap", "structure"], "index": [1], "data": [[Infinity, null]]}')
    with pytest.raises(InputError, match="broken after row 0"):
        read_crystals(path)
