"""Fixtures of studies."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from tune_cases import SMOOTHING, play

from matcard.study import gains, objective, tuning
from matcard.study.figures import write_figures
from matcard.study.gains import bootstrap


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few resamples, and figures only in the tests that look at them."""
    monkeypatch.setattr(gains, "bootstrap", partial(bootstrap, resamples=3))
    monkeypatch.setattr(tuning, "write_figures", lambda *_: None)


@pytest.fixture
def figures(monkeypatch):
    """Figures are drawn, and intervals hold their value."""
    monkeypatch.setattr(tuning, "write_figures", write_figures)
    monkeypatch.setattr(gains, "bootstrap", partial(bootstrap, resamples=20))


@pytest.fixture
def played(monkeypatch):
    """Trials play at training."""
    monkeypatch.setattr(objective, "trained", play)


@pytest.fixture
def here(tmp_path, monkeypatch, tmp_path_factory):
    """An empty folder with a space in it, as the current one."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SMOOTHING)
    rng = np.random.default_rng(0)
    kinds = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    rows = rng.normal(size=(400, 2)) + np.array([[0, 0], [3, 0], [0, 3]])[kinds]
    table = pd.DataFrame({"x": rows[:, 0], "y": rows[:, 1], "kind": np.array(["plain", "odd", "rare"])[kinds]})
    table.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path
