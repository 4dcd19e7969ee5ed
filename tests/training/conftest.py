"""Sixty small crystals in three structures, as a table that `--data.source` takes; a run on them."""

from __future__ import annotations

import json
import os
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from train_cases import options, run_here

if TYPE_CHECKING:
    from pathlib import Path

PROTOTYPES = {"rocksalt": "Fm-3m", "caesium": "Pm-3m", "zincblende": "F-43m"}
SECOND_SITE = {"rocksalt": [0.5, 0.5, 0.5], "caesium": [0.5, 0.5, 0.5], "zincblende": [0.25, 0.25, 0.25]}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's cache, but share one among them."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("MATCARD_RUN_DIR", raising=False)


@pytest.fixture(scope="session")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 60 crystals: 30 rocksalt, 20 caesium chloride, 10 zincblende, with a number beside the name."""
    rng = np.random.default_rng(0)
    pairs = list(product(["Li", "Na", "K", "Rb", "Cs", "Ag"], ["F", "Cl", "Br", "I", "O", "S", "Se", "Te", "N", "P"]))
    rows = []
    for k, (cation, anion) in enumerate(pairs):
        kind = "rocksalt" if k % 2 else "caesium" if k % 6 else "zincblende"
        size = rng.uniform(3.5, 4.2) if kind == "caesium" else rng.uniform(5.2, 6.5)
        lattice = Lattice.cubic(size)
        structure = Structure.from_spacegroup(
            PROTOTYPES[kind], lattice, [cation, anion], [[0, 0, 0], SECOND_SITE[kind]]
        )
        structure = structure.get_primitive_structure()
        rows.append({"id": f"c{k}", "structure": structure.as_dict(), "kind": kind, "size": size})
    path = tmp_path_factory.mktemp("data") / "small.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture(scope="module")
def finished(small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    os.environ["MATCARD_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")
    return run_here(*options(small_table, path)).path
