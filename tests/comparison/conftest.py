"""Tests of comparisons keep out of the user's cache."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("MATCARD_RUN_DIR", raising=False)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the page and its figures, which take longer than all else where nothing is trained."""
    monkeypatch.setattr("matcard.comparison.report.write_report", lambda *_: None)
