"""Options that play no part are named; those that do are not."""

from __future__ import annotations

import warnings

import pytest

from matcard.data.card import load_card
from matcard.data.kinds import tell_unused
from matcard.data.options import DataOptions, SyntheticOptions
from matcard.errors import InputError, MatcardWarning
from matcard.graphs.neighbors import GraphOptions


def told(card=None, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tell_unused(DataOptions(**options), None if card is None else load_card(card))
    assert all(issubclass(warning.category, MatcardWarning) for warning in caught)
    return [str(warning.message).split()[0].removeprefix("--data.") for warning in caught]


@pytest.mark.parametrize(
    ("kind", "options", "unused"),
    [
        ("crystals", {"features": ["a"], "augment": "crop-flip", "id_column": "i"}, ["features", "augment"]),
        ("crystals", {"composition_features": "magpie"}, ["composition_features"]),
        ("crystals", {"graph": GraphOptions(radius=3.0), "structure_column": "s"}, []),
        ("table", {"graph": GraphOptions(radius=3.0), "structure_column": "s"}, ["structure_column", "graph"]),
        ("table", {"features": ["a"], "test_source": "t.csv", "id_column": "i"}, []),
        ("table", {"composition_column": "f", "synthetic": SyntheticOptions(10)}, ["composition_column", "synthetic"]),
        ("compositions", {"composition_features": "magpie", "composition_column": "f", "test_source": "t.csv"}, []),
        ("images", {"augment": "crop-flip"}, []),
        ("images", {"id_column": "i", "features": ["a"]}, ["id_column", "features"]),
    ],
)
def test_what_plays_no_part_is_named(kind, options, unused):
    assert told(source="some", kind=kind, **options) == unused


def test_a_card_names_its_own_columns():
    assert told("perovskite_phases", source="perovskite_phases", id_column="i") == ["id_column"]
    assert told("digits", source="digits", synthetic=SyntheticOptions(10)) == ["synthetic"]
    assert told("ten_clusters", source="ten_clusters", synthetic=SyntheticOptions(10)) == []
    assert told("ten_clusters", source="ten_clusters", features=["x0"], id_column="i") == ["id_column", "features"]


def test_a_test_part_of_what_code_makes_stops():
    with pytest.raises(InputError, match=r"t\.csv.*ten_clusters holds table of a card, made by code"):
        tell_unused(DataOptions(source="ten_clusters", test_source="t.csv"), load_card("ten_clusters"))
