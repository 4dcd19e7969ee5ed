from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matcard.errors import InputError
from matcard.files import read_json, to_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def without_nan(value):
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values)
def test_what_is_written_is_read(tmp_path, value):
    to_json(value, tmp_path / "value.json")
    assert read_json(tmp_path / "value.json") == without_nan(value)


def test_nan_becomes_null_and_arrays_become_lists(tmp_path):
    path = tmp_path / "metrics.json"
    to_json({"mcc": math.nan, "n": np.int64(3), "recall": np.array([0.5, np.inf]), "pair": (1, 2)}, path)

    def refuse(constant):
        pytest.fail(f"{constant} is not JSON")

    assert json.loads(path.read_text(), parse_constant=refuse) == {
        "mcc": None, "n": 3, "recall": [0.5, None], "pair": [1, 2]
    }  # fmt: skip


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.json"
    to_json({"a": 1}, path)
    with pytest.raises(TypeError):
        to_json({"a": object()}, path)
    assert read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_text_stays_readable(tmp_path):
    to_json({"phase": "α–β"}, tmp_path / "x.json")
    assert "α–β" in (tmp_path / "x.json").read_text(encoding="utf-8")


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.json"):
        read_json(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"half\.json is not a JSON file"):
        read_json(tmp_path / "half.json")
