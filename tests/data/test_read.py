"""From a source to classes: what the card says and what the caller says."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from matcard.data.kinds import kind_of
from matcard.data.options import DataOptions
from matcard.data.read import read_labelled
from matcard.errors import InputError
from matcard.training.config import parse_config


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep the tests out of the user's cache."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_a_card_knows_its_target():
    assert len(read_labelled(DataOptions()).class_names) == 5


@pytest.mark.parametrize("edges", [{"threshold": 3.0}, {"bins": [1.0, 2.0]}])
def test_edges_are_not_ignored_where_a_card_has_none(edges):
    with pytest.raises(InputError, match="phase: 4400 of 4400 fields are no finite numbers"):
        read_labelled(DataOptions(**edges))


def test_the_home_folder_is_written_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rows.csv").write_text("x,y\n1,a\n2,b\n")
    assert kind_of(DataOptions(source="~/rows.csv")) == "table"
    assert parse_config(["--data.source=~/rows.csv"], prog="", description="").model.name == "mlp"
    labelled = read_labelled(DataOptions(source="~/rows.csv", test_source="~/rows.csv", target="y"))
    assert labelled.test.tolist() == [False, False, True, True]


def test_labels_are_not_asked_of_structure_files_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "cache"))
    Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(
        filename=str(tmp_path / "a.cif")
    )
    with pytest.raises(InputError, match=r"no columns.*'gap'.*give that folder as the source$"):
        read_labelled(DataOptions(source=f"{tmp_path}/*.cif", target="gap", jobs=1))
    (tmp_path / "labels.csv").write_text("id,gap\na,1.5\n")
    for source in (f"{tmp_path}/*.cif", str(tmp_path)):
        with pytest.raises(InputError, match=r"; labels\.csv lies there: rename it, if it holds their labels$"):
            read_labelled(DataOptions(source=source, target="gap", jobs=1))
    (tmp_path / "id_prop.csv").write_text("id\na\n")
    for source in (str(tmp_path), f"{tmp_path}/id_prop.csv"):
        with pytest.raises(InputError, match=r"id_prop\.csv has ids alone, no 'gap' .*: write lines of id,label$"):
            read_labelled(DataOptions(source=source, target="gap", jobs=1))


def test_a_source_of_broken_files_alone_says_what_is_wrong_with_the_first(tmp_path):
    (tmp_path / "id_prop.csv").write_text("id,phase\na,cubic\nb,cubic\n")
    for name in "ab":
        (tmp_path / f"{name}.cif").write_text("data_broken\n")
    with pytest.raises(InputError, match=r"none of the 2 rows of .* can be used\. The first is .*a\.cif"):
        read_labelled(DataOptions(source=str(tmp_path), target="phase", jobs=1))


@pytest.mark.parametrize("edges", [{"threshold": 5}, {"window": (5, 10)}])
def test_a_word_among_numbers_stops_nothing_where_its_row_is_left_out(tmp_path, edges):
    (tmp_path / "rows.csv").write_text("id,x,y\na,1,0\nb,2,9\na,3,unknown\na,4,8\n")
    labelled = read_labelled(DataOptions(source=str(tmp_path / "rows.csv"), target="y", **edges))
    assert labelled.codes.tolist() == [0, 1, -1, 1]
    assert labelled.used.tolist() == [0, 1]
    assert labelled.texts.tolist() == ["0", "9", "unknown", "8"]
    assert labelled.left_out["class"].tolist() == ["unknown", labelled.class_names[1]]


def test_a_class_that_only_unusable_rows_have_is_not_missing_without_a_word(tmp_path):
    (tmp_path / "rows.csv").write_text("id,x,y\na,1,rare\na,2,common\na,3,common\n")
    message = r"of one class, 'rare'.*2 rows of .*rows\.csv cannot be used.*the first is .*duplicated id"
    with pytest.raises(InputError, match=message):
        read_labelled(DataOptions(source=str(tmp_path / "rows.csv"), id_column="id", target="y"))


def test_the_column_of_a_cards_target_is_no_descriptor():
    with pytest.raises(InputError, match="'Tg' is the column that is to be predicted, or that it"):
        read_labelled(DataOptions(source="deepglassnet", descriptors="columns:Tg"))
