"""Tables in pieces: what a CSV file gives, with and without structures in it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from matcard import table_files as tables
from matcard.errors import InputError
from matcard.table_files import open_table, read_csv


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(tables, "CHUNK", 3)


@pytest.fixture
def rows():
    """Seven rows whose types only the last ones settle."""
    return pd.DataFrame({"id": ["007", *"bcdefg"], "gap": [1, 2, 3, 4, 5, 6, 7.5], "note": [np.nan] * 6 + ["x"]})


def pieces(path):
    return list(open_table(path).pieces)


@pytest.mark.parametrize("structures", [False, True])
def test_pieces_are_the_rows_in_order(rows, structures, tmp_path):
    if structures:
        rows["cif"] = [f"data_{k}" for k in range(7)]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    found = pieces(tmp_path / "rows.csv")
    assert [len(piece.frame) for piece in found] == [3, 3, 1]
    assert [piece.total for piece in found] == [7, 7, 7]
    joined = pd.concat([piece.frame for piece in found])
    assert joined.index.tolist() == list(range(2, 9))  # lines, below that of the header
    pd.testing.assert_frame_equal(joined.reset_index(drop=True), rows)


def test_structures_need_no_other_column(tmp_path):
    cells = pd.DataFrame({"cif": [f"data_{k}\n_cell" for k in range(7)]})
    cells.to_csv(tmp_path / "rows.csv", index=False)
    found = pieces(tmp_path / "rows.csv")
    assert [piece.total for piece in found] == [7] * 3
    joined = pd.concat([piece.frame for piece in found])
    assert joined.index.tolist() == list(range(2, 16, 2))  # of two lines each
    pd.testing.assert_frame_equal(joined.reset_index(drop=True), cells)


@pytest.mark.parametrize("structures", [False, True])
def test_types_are_those_of_the_whole_file(rows, structures, tmp_path):
    rows.assign(**({"cif": "data_"} if structures else {})).to_csv(tmp_path / "rows.csv", index=False)
    for piece in pieces(tmp_path / "rows.csv"):
        assert piece.frame["gap"].dtype == "float64"
        assert piece.frame["note"].dtype == object
        assert all(isinstance(name, str) for name in piece.frame["id"])


def test_a_header_alone_tells_the_columns(tmp_path):
    (tmp_path / "rows.csv").write_text("id,gap\n")
    (piece,) = pieces(tmp_path / "rows.csv")
    assert list(piece.frame) == ["id", "gap"]
    assert (len(piece.frame), piece.total) == (0, 0)


@pytest.mark.parametrize("header", ["id,gap", "id,cif", "cif,id"])
@pytest.mark.parametrize("lines", ["a,1,2\nb,3,4\n", "a,1\nb,3,4\n", "1,2,3\n1,2,3\n1,2,3\n1,2,3\n1,2,3\n"])
def test_rows_longer_than_the_header_are_refused(header, lines, tmp_path):
    (tmp_path / "rows.csv").write_text(f"{header}\n{lines}")
    with pytest.raises(InputError, match=r"rows\.csv (has more fields in a row|cannot be read: .*Expected 2 fields)"):
        pieces(tmp_path / "rows.csv")


def test_a_comma_at_the_end_of_rows_shifts_no_column(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b,kind\n1,2,x,\n3,4,y,\n")
    with pytest.raises(InputError, match="name the columns that have none"):
        read_csv(tmp_path / "rows.csv")
