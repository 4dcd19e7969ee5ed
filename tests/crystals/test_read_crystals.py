"""`read_crystals`: every row of a source in order, each with its structure or its fault."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matcard.crystals.read import read_crystals
from matcard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_every_row_stays_in_its_place(tmp_path: Path) -> None:
    table = tmp_path / "some.jsonl"
    lines = [
        {"id": "a", "structure": NACL.as_dict(), "gap": 5.0},
        {"id": "b", "structure": None, "gap": 1.0},
        {"id": "c", "structure": CSCL.as_dict(), "gap": 6.5},
    ]
    table.write_text("\n".join(json.dumps(line) for line in lines))
    crystals = read_crystals(table)
    assert crystals.ids.tolist() == ["a", "b", "c"]
    assert crystals.where.tolist() == [f"some.jsonl line {k}" for k in (1, 2, 3)]
    assert crystals.sound.tolist() == [True, False, True]
    assert "missing" in crystals.faults[1]
    assert crystals.num_sites.tolist() == [8, 0, 2]
    assert crystals.columns["gap"].tolist() == [5.0, 1.0, 6.5]
    assert crystals.structure(0) == NACL
    np.testing.assert_allclose(crystals.atoms(2).cell.lengths(), 4.1)


def test_ids_may_repeat_where_that_is_said(tmp_path: Path) -> None:
    table = tmp_path / "some.jsonl"
    table.write_text("\n".join(json.dumps({"id": "a", "structure": CSCL.as_dict()}) for _ in range(2)))
    assert read_crystals(table).sound.tolist() == [True, False]
    assert read_crystals(table, repeats=True).sound.tolist() == [True, True]


def test_an_id_that_is_no_unicode_is_a_fault(tmp_path: Path) -> None:
    table = tmp_path / "some.jsonl"
    table.write_text(json.dumps({"id": "a\ud800", "structure": CSCL.as_dict()}) + "\n" + json.dumps({"id": "b"}))
    crystals = read_crystals(table)
    assert "no valid Unicode" in crystals.faults[0]
    assert crystals.ids[0].encode() == b"a\\ud800"


def test_a_source_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(InputError, match="no rows"):
        read_crystals(tmp_path / "none.jsonl")


def test_text_that_is_no_unicode_is_written_by_its_code_everywhere(tmp_path: Path) -> None:
    """In columns and in the names of files: it could not be written to the files of a run."""
    table = tmp_path / "some.jsonl"
    table.write_text(json.dumps({"id": "a", "structure": CSCL.as_dict(), "phase": "x\udc80", "tags": ["\udc80"]}))
    assert read_crystals(table).columns["phase"].tolist() == ["x\\udc80"]
    (tmp_path / "caf\udce9.vasp").write_text(CSCL.to(fmt="poscar"))
    crystals = read_crystals(tmp_path)
    assert "no valid Unicode" in crystals.faults[0]
    assert crystals.where[0].encode().endswith(b"caf\\udce9.vasp")
