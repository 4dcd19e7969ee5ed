"""One small run, trained once for all tests of prediction and of evaluation on new sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ase.io
import pytest
from prediction_cases import crystals, train_small, undrawn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's cache."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def drawn() -> None:
    """Asked for by tests that look at figures; for all others they stay empty."""


@pytest.fixture(autouse=True)
def figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Draw figures only where `drawn` is asked for."""
    if "drawn" in request.fixturenames:
        yield
        return
    with undrawn():
        yield


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 60 crystals as an extended XYZ file."""
    path = tmp_path_factory.mktemp("source") / "crystals.extxyz"
    ase.io.write(path, crystals())
    return path


@pytest.fixture(scope="session")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of twelve epochs."""
    return train_small(source, tmp_path_factory.mktemp("runs") / "first", seed=0)


@pytest.fixture(scope="session")
def second(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another, with another seed and shorter edges."""
    return train_small(source, tmp_path_factory.mktemp("runs") / "second", "--data.graph.radius=5", seed=1)
