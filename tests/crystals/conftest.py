"""A cache of their own for the tests of crystals."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """The folder named by MATCARD_CACHE."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MATCARD_CACHE", str(folder))
    return folder
