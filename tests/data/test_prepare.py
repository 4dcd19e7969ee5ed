"""From a source to classes: what the card says and what the caller says."""

from __future__ import annotations

import pytest

from matcard.data.options import DataOptions
from matcard.data.prepare import read_labelled
from matcard.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep the tests out of the user's cache."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_a_card_knows_its_target():
    assert len(read_labelled(DataOptions()).class_names) == 5


@pytest.mark.parametrize("edges", [{"threshold": 3.0}, {"bins": [1.0, 2.0]}])
def test_edges_are_not_ignored_where_a_card_has_none(edges):
    with pytest.raises(InputError, match="phase is not numeric"):
        read_labelled(DataOptions(**edges))
