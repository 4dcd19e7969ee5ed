"""Tests of comparisons keep out of the user's cache."""

from __future__ import annotations

from typing import Any

import pytest
from comparison_cases import run_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("MATCARD_RUN_DIR", raising=False)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the page and its figures, which take longer than all else where nothing is trained."""
    monkeypatch.setattr("matcard.comparison.run.write_report", lambda *_: None)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put numbers that follow from the configuration in place of trainings; gives what was trained, in order."""
    configs: list[dict[str, Any]] = []

    def fake(config: dict[str, Any], data: object, *, tested: bool, folder: object, line: object) -> dict[str, Any]:
        configs.append(config)
        return run_of(config["seed"], 0.5 + config["seed"] / 100 + config["optimizer"]["lr"] / 10, tested=tested)

    monkeypatch.setattr("matcard.comparison.cells.run_network", fake)
    return configs
