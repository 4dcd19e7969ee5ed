"""Crystals of two sources: the second is the test part, and none of its formulas is trained on."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from pymatgen.core import Lattice, Structure

from matcard.data.crystals import CrystalKind
from matcard.data.options import DataOptions, SplitOptions
from matcard.data.read import divide, read, read_labelled
from matcard.errors import InputError

METALS, ANIONS = ("Li", "Na", "K", "Rb", "Cs", "Ag"), ("F", "Cl", "Br", "I")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def sources(tmp_path):
    """A file of 48 crystals, and one of nine of which five have formulas of the first, two of these its ids."""

    def write(name, rows):
        lines = []
        for id_, (metal, anion), length, gap in rows:
            structure = Structure(Lattice.cubic(length), [metal, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])
            lines.append(json.dumps({"id": id_, "structure": structure.as_dict(), "gap": gap, "lab": metal}))
        (tmp_path / name).write_text("\n".join(lines))
        return str(tmp_path / name)

    pairs = [(metal, anion) for metal in METALS for anion in ANIONS]
    first = [
        (f"c{2 * k + copy}", pair, 4 + 0.1 * copy, 5.0 * (k % 2)) for k, pair in enumerate(pairs) for copy in (0, 1)
    ]
    known = [(f"c{k}" if k < 2 else f"t{k}", pairs[k], 4.4, 5.0 * (k % 2)) for k in range(5)]
    new = [(f"t{k}", (metal, "At"), 4.5, 5.0 * (k % 2)) for k, metal in zip(range(5, 9), METALS, strict=False)]
    options = {"target": "gap", "threshold": 3.0, "jobs": 1}
    return DataOptions(source=write("a.jsonl", first), test_source=write("b.jsonl", known + new), **options)


def test_formulas_of_the_test_part_are_left_out_of_training(sources):
    samples = read_labelled(sources)
    assert samples.test.tolist() == [False] * 48 + [True] * 9
    assert samples.ids[48:51].tolist() == ["c0 (test)", "c1 (test)", "t2"]
    data = divide(samples, sources, seed=0)
    assert data.split.test.tolist() == list(range(48, 57))
    assert data.split.cut.tolist() == list(range(10)), "both copies of five formulas"
    assert len(data.split.train) + len(data.split.val) == 38
    assert (data.split.kind, data.split.groups, data.split.seen) == ("given", "formula", 10)
    assert any("10 samples are left out of training and validation" in note for note in data.notes)


@pytest.mark.parametrize(("seen", "test", "rest"), [("keep", range(48, 57), 48), ("test", range(53, 57), 48)])
def test_they_stay_where_that_is_asked_for(sources, seen, test, rest):
    options = replace(sources, split=SplitOptions(seen=seen))
    split = divide(read_labelled(options), options, seed=0).split
    assert split.test.tolist() == list(test)
    assert len(split.train) + len(split.val) == rest
    assert split.seen == 5


def test_other_groups_are_kept_apart_on_request(sources):
    options = replace(sources, split=SplitOptions(kind="column", column="lab"))
    split = divide(read_labelled(options), options, seed=0).split
    assert split.groups == "column:lab"
    assert len(split.cut) == 4 * 8, "all crystals of four metals"


def test_a_second_source_without_the_target_is_refused(sources, tmp_path):
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    lines = [{key: value for key, value in row.items() if key != "gap"} for row in rows]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match=r"c\.jsonl has no column 'gap', which the source has"):
        read_labelled(replace(sources, test_source=str(tmp_path / "c.jsonl")))


def test_deuterium_is_hydrogen_where_that_is_asked_for(tmp_path):
    """A model file keeps it, and new crystals are read alike."""
    salt = Structure(Lattice.cubic(4.1), ["Li", "H"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(fmt="cif")
    heavy = salt.replace("  H  ", "  D  ").replace("LiH", "LiD").replace("Li1 H1", "Li1 D1")
    assert heavy.count("D") > salt.count("D")
    for name, text in (("a", salt), ("b", heavy)):
        (tmp_path / f"{name}.cif").write_text(text)
    (tmp_path / "id_prop.csv").write_text("id,gap\na,1\nb,2\n")
    options = DataOptions(source=str(tmp_path), target="gap", threshold=1.5, jobs=1)
    left_out = read(options)
    assert left_out.faults[0] is None
    assert "unknown element 'D'" in left_out.faults[1]
    samples = read(replace(options, deuterium=True))
    assert samples.faults.tolist() == [None, None]
    assert samples.inputs.numbers.tolist() == 2 * samples.inputs.numbers[:2].tolist()
    kind = CrystalKind.from_dict(samples.kind.to_dict())
    assert kind.deuterium
    (again,) = kind.pieces(tmp_path, DataOptions(jobs=1), io.BytesIO(), lambda *_: None)
    assert again.faults.tolist() == [None, None]
    assert read(options, kind).faults.tolist() == [None, None]
