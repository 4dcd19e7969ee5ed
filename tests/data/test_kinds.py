"""What a source holds, by the option, the card, the ending and the columns."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from matcard.data.kinds import kind_of
from matcard.data.options import DataOptions
from matcard.data.read import read_labelled
from matcard.errors import InputError

CIF = "data_x\n_cell_length_a 1.0\n"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("perovskite_phases", "crystals"),
        ("digits", "images"),
        ("ten_clusters", "table"),
        ("matbench_glass", "compositions"),
    ],
)
def test_a_card_knows_its_kind(source, kind):
    assert kind_of(DataOptions(source=source)) == kind


TABLES = [
    ({"a": 1.0, "label": 0}, "table"),
    ({"SiO2": 50.0, "Na2O": 50.0, "Tg": 500}, "table"),
    ({"composition": "NaCl", "label": 0}, "compositions"),
    ({"formula": "NaCl", "cif": CIF, "label": 0}, "crystals"),
    ({"formula": "NaCl", "structure": "{}", "label": 0}, "crystals"),
    ({"id": "x", "lattice": "[]", "species": "[]", "frac_coords": "[]"}, "crystals"),
    ({"id": "x", "lattice": 4.2, "label": 0}, "table"),
    ({"formula": "NaCl", "lattice": 4.2, "label": 0}, "compositions"),
]
UNUSUAL = ({"id": "x", "my_structures": CIF * 20, "label": 0}, "crystals")
"""Told by its texts: of parquet the names of columns are all that is looked at."""
IN_CSV = [(*table, name) for table in (*TABLES, UNUSUAL) for name in ("some.csv", "some.csv.gz")]
IN_PARQUET = [(*table, "some.parquet") for table in TABLES]


@pytest.mark.parametrize(("columns", "kind", "name"), [*IN_CSV, *IN_PARQUET])
def test_the_columns_of_a_table_tell(tmp_path, columns, kind, name):
    path = tmp_path / name
    frame = pd.DataFrame([columns])
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    assert kind_of(DataOptions(source=str(path))) == kind


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("formula,label\nNaCl,0\nMgO,1\n", encoding="utf-8-sig")
    assert kind_of(DataOptions(source=str(path))) == "compositions"
    assert read_labelled(DataOptions(source=str(path), target="label")).kind.features[0] == "H"


def test_options_go_before_what_is_found(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("a,b\n1,2\n")
    assert kind_of(DataOptions(source=str(path), kind="compositions")) == "compositions"
    assert kind_of(DataOptions(source=str(path), structure_column="a")) == "crystals"
    assert kind_of(DataOptions(source=str(path), composition_column="a")) == "compositions"


def test_other_endings(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=np.zeros(3))
    assert kind_of(DataOptions(source=str(tmp_path / "x.npz"))) == "images"
    assert kind_of(DataOptions(source=str(tmp_path))) == "crystals"
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"")
    assert kind_of(DataOptions(source=str(tmp_path))) == "images"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", gzip.compress(b"a,b", mtime=0)[:-3]])
@pytest.mark.parametrize("name", ["bad.csv", "bad.csv.gz", "bad.parquet", "missing/none.csv"])
def test_what_cannot_be_read_is_left_to_the_reader_to_explain(tmp_path, content, name):
    path = tmp_path / name
    if path.parent.exists():
        path.write_bytes(content)
    assert kind_of(DataOptions(source=str(path))) in ("crystals", "table")


def test_a_card_of_another_kind_is_refused():
    with pytest.raises(InputError, match="the data set digits holds images"):
        read_labelled(DataOptions(source="digits", kind="table"))
