from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from report_cases import NASTY, finished_run

from matcard.report.run import write_report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's cache."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def nasty_report(tmp_path_factory) -> Path:
    """The report of a run whose classes, ids and path would break a page that does not escape them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATCARD_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("runs") / "a <run> & 'more' ü"
        baseline = finished_run(folder.with_name("baseline"), 5, names=NASTY, seed=0, loss="cross_entropy")
        return write_report(finished_run(folder, 5, names=NASTY), baseline=baseline)
