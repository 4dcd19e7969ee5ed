"""A misbehaving server, and a cache of its own for every test that asks for one."""

from __future__ import annotations

import time

import pytest
from bad_server import serving


@pytest.fixture
def server(monkeypatch):
    """A local server; no proxy stands between."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as state:
        yield state


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """The folder named by MATCARD_CACHE; no mirror is set."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MATCARD_CACHE", str(folder))
    monkeypatch.delenv("MATCARD_MIRROR", raising=False)
    return folder


@pytest.fixture
def naps(monkeypatch):
    """The seconds that would have been slept between two attempts."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept
