"""The Materials Project without a network: the client is a stand-in with mp-api's signature."""

from __future__ import annotations

import enum
import sys
import types
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure
from sample_cases import parted

from matcard.data.card import Query, load_card
from matcard.data.sources import fetch, frozen_query, load_crystals
from matcard.errors import InputError, MatcardWarning

SALT = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def load_table(card, **options):
    return parted(load_crystals(card, **options))


class Ordering(enum.Enum):
    NM = "NM"

    def __str__(self):
        return self.value


class Id:
    """An id of the Materials Project is an object of its own."""

    def __init__(self, number):
        self.number = number

    def __str__(self):
        return f"mp-{self.number}"


def entry(number, gap, **more):
    return {
        "material_id": Id(number),
        "formula_pretty": "NaCl",
        "nsites": 2,
        "structure": SALT,
        "band_gap": gap,
        "is_metal": gap == 0,
        "energy_above_hull": 0.0,
        "theoretical": False,
        "fields_not_requested": ["volume"],
        **more,
    }


class Database:
    """Stands in for mp_api.client.MPRester, and remembers what it was asked."""

    asked: list
    answer: list

    def __init__(self, api_key=None, use_document_model=True):
        self.opened = {"api_key": api_key, "use_document_model": use_document_model}
        self.materials = types.SimpleNamespace(summary=self)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def search(self, band_gap=None, fields=None, all_fields=True, **filters):
        type(self).asked.append({**self.opened, "fields": fields, "all_fields": all_fields, **filters})
        if isinstance(type(self).answer, Exception):
            raise type(self).answer
        return type(self).answer

    def get_database_version(self):
        return "2025.09.25"


@pytest.fixture
def database(monkeypatch, cache_folder):
    """The stand-in, under the name of the real one."""

    class Fresh(Database):
        asked, answer = [], [entry(1, 0.0), entry(2, 4.5), entry(3, 3.0)]

    client = types.ModuleType("mp_api.client")
    client.MPRester = Fresh
    monkeypatch.setitem(sys.modules, "mp_api", types.ModuleType("mp_api"))
    monkeypatch.setitem(sys.modules, "mp_api.client", client)
    monkeypatch.setenv("MP_API_KEY", "secret")
    return Fresh


@pytest.fixture
def card():
    return load_card("materials_project")


def test_the_query_of_the_card_is_asked_once_and_frozen(database, card):
    for _ in range(2):
        table = load_table(card)
        assert table.crystals.ids.tolist() == ["mp-1", "mp-2", "mp-3"]
        assert table.columns["band_gap"].tolist() == [0.0, 4.5, 3.0]
        assert table.columns["is_metal"].tolist() == [True, False, False]
        assert table.crystals.numbers.tolist() == [11, 17] * 3
        assert len(table.left_out) == 0
    assert database.asked == [
        {
            "api_key": "secret",
            "use_document_model": False,
            "fields": list(card.query.fields),
            "all_fields": False,
            "theoretical": False,
            "energy_above_hull": (0.0, 0.1),
            "num_sites": (1, 20),
            "include_gnome": False,
        }
    ]


def test_the_frozen_file_keeps_query_date_and_version(database, card):
    (path,) = fetch(card).values()
    assert path == card.folder / "materials_project.parquet"
    about = frozen_query(path)
    assert about["query"] == {"fields": list(card.query.fields), "filters": dict(card.query.filters)}
    assert about["database_version"] == "2025.09.25"
    assert about["date"].startswith("20")
    assert database.asked
    assert "secret" not in path.read_bytes().decode("latin-1")
    left = sorted(file.name for file in path.parent.iterdir() if file.suffix != ".lock")
    assert left == [path.name]


def test_the_version_is_read_as_newer_clients_have_it(database, card):
    database.db_version = "2026_01_02"
    database.get_database_version = None
    assert frozen_query(next(iter(fetch(card).values())))["database_version"] == "2026_01_02"


def test_a_frozen_file_needs_neither_package_nor_key(database, card, monkeypatch):
    fetch(card)
    monkeypatch.delenv("MP_API_KEY")
    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    assert len(load_table(card)) == 3


def test_a_frozen_file_of_another_query_is_not_taken(database, card):
    fetch(card)
    other = replace(card, query=Query(card.query.fields, {"theoretical": True}))
    with pytest.raises(InputError, match=r"materials_project\.parquet was frozen on 20.* with another query"):
        fetch(other)
    (path,) = card.folder.glob("*.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    with pytest.raises(InputError, match="is no frozen query of the Materials Project; move it away"):
        fetch(card)
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="is no frozen query"):
        fetch(card)


def test_without_the_package_the_extra_is_named(card, cache_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "mp_api", None)
    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    with pytest.raises(InputError, match=r"needs mp-api: pip install -e '\.\[mp\]'"):
        fetch(card)


@pytest.mark.parametrize("key", ["", "  ", None])
def test_without_a_key_it_is_said_where_to_get_one(database, card, monkeypatch, key):
    if key is None:
        monkeypatch.delenv("MP_API_KEY")
    else:
        monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(InputError, match=r"https://materialsproject\.org/api and set MP_API_KEY"):
        fetch(card)
    assert database.asked == []


def test_an_error_of_the_database_is_passed_on_and_nothing_frozen(database, card):
    database.answer = RuntimeError("REST query returned\nwith error status code 401")
    with pytest.raises(
        InputError,
        match=r"gave no answer to the query \(RuntimeError: REST query returned with error status code 401\)",
    ):
        fetch(card)
    database.answer = []
    with pytest.raises(
        InputError, match=r"nothing in the Materials Project matches the filters \{'theoretical': False"
    ):
        fetch(card)
    assert list(card.folder.glob("*.parquet")) == []


def test_structures_may_come_as_dicts_or_be_missing(database, card):
    database.answer = [entry(1, 0.0, structure=SALT.as_dict()), entry(2, 1.0, structure=None)]
    table = load_table(card)
    assert table.crystals.ids.tolist() == ["mp-1"]
    assert table.left_out["id"].tolist() == ["mp-2"]
    assert "missing" in table.left_out["reason"][0]


def test_other_fields_become_text_or_are_refused(database, card):
    asked = replace(card, query=Query((*card.query.fields, "ordering"), {}))
    database.answer = [entry(1, 0.0, ordering=Ordering.NM)]
    (path,) = fetch(asked).values()
    assert pq.read_table(path)["ordering"].to_pylist() == ["NM"]
    path.unlink()
    database.answer = [entry(1, 0.0, ordering=["NM"])]
    with pytest.raises(InputError, match="the field 'ordering' of the Materials Project holds no single value"):
        fetch(asked)
    database.answer = [entry(1, 0.0)]
    with pytest.warns(MatcardWarning, match="no entry has a value for ordering"):
        fetch(asked)
