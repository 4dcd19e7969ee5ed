"""The benchmark of a training step runs; what it measures is never tested."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_way_is_timed_and_gives_the_same_numbers(monkeypatch, capsys):
    pytest.importorskip("numba")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    words = ["step.py", "--crystals=12", "--batch=6", "--turns=1", "--markdown"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    importlib.import_module("step").main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 6 |")]
    assert [row.split("|")[2].strip() for row in rows if "loading" not in row] == [
        "matcard", "matcard without numba", "plain, matcard's Gaussians", "plain",
    ]  # fmt: skip
