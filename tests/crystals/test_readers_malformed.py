"""Bad rows are left out with a reason. Nothing is replaced, no traceback."""

from __future__ import annotations

import json
import math

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed_cases import CIF, CUBE, GOOD, POSCAR
from pymatgen.core import Lattice, Structure
from reading import from_atoms, from_structures, read_crystals

from matcard.errors import MatcardWarning


def _jsonl(tmp_path, *rows):
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"id": f"r{k}", "gap": k, **row}) for k, row in enumerate(rows)))
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"species": ["Na", "Qq"]}, "site 2 has the unknown element 'Qq'"),
        ({"species": ["D", "Cl"]}, "site 1 has the unknown element 'D'"),
        ({"species": ["X", "X"]}, "site 1 has the unknown element 'X'"),
        ({"species": "NaCl"}, "a list or dict in JSON was expected"),
        ({"species": [11, 17]}, "species must be a list of element symbols"),
        ({"species": {"Na": 1, "Cl": 1}}, "species must be a list of element symbols"),
        ({"species": ["Na"]}, "1 species but 6 coordinates"),
        ({"species": [], "frac_coords": []}, "no sites"),
        ({"species": None}, "the structure is missing here"),
        ({"frac_coords": [0, 0, 0, 0.5, 0.5]}, "2 species but 5 coordinates"),
        ({"frac_coords": [[0, 0, 0], [0.5, 0.5]]}, "frac_coords must be numbers"),
        ({"frac_coords": [0, 0, 0, 0.5, 0.5, "a"]}, "frac_coords must be numbers"),
        ({"frac_coords": [0, 0, 0, 0.5, 0.5, None]}, "site 2 has a coordinate that is NaN"),
        ({"frac_coords": [0, 0, math.nan, 0.5, 0.5, 0]}, "site 1 has a coordinate that is NaN"),
        ({"frac_coords": [0, 0, math.inf, 0.5, 0.5, 0]}, "site 1 has a coordinate that is NaN or infinite"),
        ({"frac_coords": [0, 0, 0, 0.99, 0.01, 0.999]}, "site 1 and site 2 overlap, 0.057 angstrom apart"),
        ({"frac_coords": [0, 0, 0, 1, 2, -3]}, "site 1 and site 2 overlap, 0.000 angstrom apart"),
        ({"lattice": [4, 4, 4, 90, 90]}, "the lattice has 5 numbers"),
        ({"lattice": [4, 4, 4, 90, 90, math.nan]}, "the lattice has a length or angle that is NaN"),
        ({"lattice": [4, 4, 0, 90, 90, 90]}, "zero-volume cell"),
        ({"lattice": [4, 4, 4, 90, 90, 0]}, "zero-volume cell"),
        ({"lattice": [4, 4, 4, 30, 30, 120]}, "zero-volume cell"),
        ({"lattice": [[4, 0, 0], [0, 4, 0], [4, 4, 0]]}, "zero-volume cell"),
        ({"lattice": "nonsense"}, "a list or dict in JSON was expected"),
        ({"lattice": [0.4, 4, 4, 90, 90, 90], "frac_coords": [0, 0, 0, 0, 0.5, 0.5]}, "from its own image"),
    ],
)
def test_a_bad_row_of_flat_columns_is_left_out_with_its_reason(tmp_path, change, reason):
    table = read_crystals(_jsonl(tmp_path, GOOD, {**GOOD, **change}, GOOD))
    assert table.crystals.ids.tolist() == ["r0", "r2"]
    assert table.columns["gap"].tolist() == [0, 2]
    assert table.left_out[["id", "where", "gap"]].to_numpy().tolist() == [["r1", "t.jsonl line 2", 1]]
    assert reason in table.left_out["reason"][0]


def _site(element="Na", abc=(0, 0, 0), occu=1.0):
    return {"species": [{"element": element, "occu": occu}], "abc": list(abc)}


LATTICE = {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]}


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        ({"lattice": LATTICE, "sites": [_site(occu=0.5)]}, "site 1 is disordered (0.5 Na)"),
        (
            {
                "lattice": LATTICE,
                "sites": [
                    _site(),
                    {
                        "species": [{"element": "Fe", "occu": 0.5}, {"element": "Ni", "occu": 0.5}],
                        "abc": [0.5, 0.5, 0.5],
                    },
                ],
            },
            "site 2 is disordered (0.5 Fe + 0.5 Ni)",
        ),
        ({"lattice": LATTICE, "sites": [_site("X")]}, "site 1 has the unknown element 'X'"),
        ({"lattice": LATTICE, "sites": []}, "no sites"),
        ({"sites": [_site()]}, "no lattice or sites"),
        ({"lattice": LATTICE, "sites": [{"abc": [0, 0, 0]}]}, "malformed structure (KeyError: 'species')"),
        ({"lattice": LATTICE, "sites": [_site(["Na"])]}, "unknown element"),
        ({"lattice": LATTICE, "sites": [_site(abc=[0] * 6)]}, "1 species but 6 coordinates; give three a site"),
        ({"lattice": {"matrix": [[4, 0], [0, 4]]}, "sites": [_site()]}, "the lattice has 4 numbers; give"),
        ({"lattice": {**LATTICE, "pbc": [True, True, False]}, "sites": [_site()]}, "periodic in TTF only"),
        ({"lattice": {"a": 4}, "sites": [_site()]}, "malformed structure (KeyError: 'b')"),
        (["a", "list"], "the structure is a list"),
        ("{not json", "a list or dict in JSON was expected"),
        (None, "the structure is missing here"),
    ],
)
def test_a_bad_pymatgen_dict_is_left_out(tmp_path, structure, reason):
    good = {"lattice": LATTICE, "sites": [_site()]}
    table = read_crystals(_jsonl(tmp_path, {"structure": good}, {"structure": structure}))
    assert table.crystals.ids.tolist() == ["r0"]
    assert reason in table.left_out["reason"][0]


def test_bad_files_of_a_folder_are_left_out(tmp_path):
    contents = {
        "good.vasp": POSCAR,
        "nameless.vasp": POSCAR.replace("Na Cl\n", ""),
        "short.vasp": POSCAR.replace("0.5 0.5 0.5\n", ""),
        "unknown.vasp": POSCAR.replace("Na", "D"),
        "POSCAR_flat": POSCAR.replace("0 0 4", "0 4 0"),
        "garbage.cif": "\x00\xff garbage",
        "empty.cif": "",
        "frames.xyz": "1\n\nNa 0 0 0\n1\n\nNa 0 0 0\n",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    ids = ["good", "nameless", "short", "unknown", "flat", "garbage", "empty", "frames.xyz", "absent", "good"]
    (tmp_path / "id_prop.csv").write_text("".join(f"{name},{k}\n" for k, name in enumerate(ids)))
    table = read_crystals(tmp_path)
    assert table.crystals.ids.tolist() == ["good"]
    assert table.left_out["id"].tolist() == ids[1:]
    assert table.left_out["column 2"].tolist() == list(range(1, 10))
    expected = [
        "the POSCAR names no elements",
        "the POSCAR has 1 of 2 positions",
        "unknown element 'D'",
        "zero-volume cell",
        "the file is not UTF-8 text",
        "the CIF is empty; copy or export it again",
        "holds 2 frames",
        "no structure file (looked for absent.cif, absent.vasp",
        "duplicated id 'good', first in id_prop.csv line 1 (good.vasp)",
    ]
    for reason, start in zip(table.left_out["reason"], expected, strict=True):
        assert reason.startswith(start)
    assert table.left_out["where"].tolist()[-2:] == ["id_prop.csv line 9", "id_prop.csv line 10 (good.vasp)"]


def test_files_that_no_line_names_are_told(tmp_path):
    for name in ("a.vasp", "b.vasp", "POSCAR_c"):
        (tmp_path / name).write_text(POSCAR)
    (tmp_path / "README.txt").write_text("not a structure")
    (tmp_path / "id_prop.csv").write_text("a,1\n")
    with pytest.warns(MatcardWarning, match=r"2 structure files .* not read: POSCAR_c, b\.vasp"):
        assert len(read_crystals(tmp_path)) == 1


def test_a_first_line_whose_file_is_missing_is_no_header(tmp_path):
    (tmp_path / "b.vasp").write_text(POSCAR)
    (tmp_path / "id_prop.csv").write_text("a,1\nb,2\n")
    table = read_crystals(tmp_path)
    assert table.crystals.ids.tolist() == ["b"]
    assert table.left_out["id"].tolist() == ["a"]


def test_bad_frames_are_left_out(tmp_path):
    crystal = Atoms("Na", cell=[4, 4, 4], pbc=True, info={"kind": "good"})
    frames = [
        crystal,
        Atoms("Na", info={"kind": "molecule"}),
        Atoms("Na", cell=[4, 4, 4], pbc=[True, True, False], info={"kind": "slab"}),
        Atoms("Na2", cell=[4, 4, 4], pbc=True, positions=[[0, 0, 0], [0, 0, 3.9]], info={"kind": "twins"}),
    ]
    path = tmp_path / "t.extxyz"
    ase.io.write(path, frames)
    unknown = path.read_text().splitlines()[:3]
    unknown[1] = unknown[1].replace("good", "unknown")
    unknown[2] = unknown[2].replace("Na", "Qq")
    path.write_text(path.read_text() + "\n".join(unknown) + "\n")
    table = read_crystals(path)
    assert table.columns["kind"].tolist() == ["good"]
    assert table.left_out["kind"].tolist() == ["molecule", "slab", "twins", "unknown"]
    assert table.left_out["where"].tolist() == [f"t.extxyz frame {k}" for k in (2, 3, 4, 5)]
    expected = ["no unit cell", "periodic in TTF only", "site 1 and site 2 overlap", "malformed frame (KeyError: 'Qq')"]
    for reason, start in zip(table.left_out["reason"], expected, strict=True):
        assert reason.startswith(start)


@pytest.mark.parametrize("bad", ['Lattice="4 0 0"', 'stress="1 2"', "Lattice = 4"])
def test_a_bad_matrix_leaves_out_its_frame_alone(tmp_path, bad):
    good = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 kind='
    (tmp_path / "t.extxyz").write_text(f"1\n{good}a\nNa 0 0 0\n1\n{bad} kind=b\nNa 0 0 0\n1\n{good}c\nNa 0 0 0\n")
    table = read_crystals(tmp_path / "t.extxyz")
    assert table.columns["kind"].tolist() == ["a", "c"]
    assert "Properties" not in table.columns
    assert table.left_out["kind"].tolist() == ["b"]
    assert table.left_out["where"].tolist() == ["t.extxyz frame 2"]


WORDS = [
    "Lattice",
    "=",
    '"',
    "4 0 0 0 4 0 0 0 4",
    "4",
    " ",
    "_JSON ",
    "{",
    "}",
    "[",
    "\\",
    "kind",
    "stress",
    "pbc",
    "'",
    "é",
]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map("".join))
def test_whatever_a_line_of_labels_holds_its_frame_is_read_or_left_out(tmp_path_factory, line):
    path = tmp_path_factory.mktemp("frames") / "t.extxyz"
    path.write_text(f'1\n{line}\nNa 0 0 0\n1\nLattice="4 0 0 0 4 0 0 0 4" \nNa 0 0 0\n', encoding="utf-8")
    table = read_crystals(path)
    assert len(table) + len(table.left_out) == 2
    assert len(table) >= 1


def test_bad_objects_are_left_out():
    lattice = Lattice.cubic(4)
    good = Structure(lattice, ["Na"], [[0, 0, 0]])
    disordered = Structure(lattice, [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    dummy = Structure(lattice, ["X"], [[0, 0, 0]])
    table = from_structures([good, disordered, dummy, good], list("abca"))
    assert table.crystals.ids.tolist() == ["a"]
    assert table.left_out["where"].tolist() == [f"structures[{k}]" for k in range(1, 4)]
    expected = ["site 1 is disordered (0.5 Fe", "site 1 has the unknown element 'X'"]
    for reason, start in zip(table.left_out["reason"], [*expected, "duplicated id 'a'"], strict=True):
        assert reason.startswith(start)
    assert from_atoms([Atoms("X", cell=[4, 4, 4], pbc=True)]).left_out["reason"][0].startswith("site 1 has the unk")


def test_duplicated_and_missing_ids(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"id": ["a", None, "a", "b"], "reason": ["w", "x", "y", "z"]})
    frame["lattice"], frame["species"], frame["frac_coords"] = [CUBE] * 4, [["Na"]] * 4, [[0.0, 0.0, 0.0]] * 4
    frame.to_parquet(path)
    table = read_crystals(path)
    assert table.crystals.ids.tolist() == ["a", "b"]
    assert table.columns["reason"].tolist() == ["w", "z"]
    assert table.left_out.to_numpy().tolist() == [
        ["", "t.parquet row 2", "no id; give the row one", "x"],
        [
            "a",
            "t.parquet row 3",
            "duplicated id 'a', first in t.parquet row 1; give each an id of its own",
            "y",
        ],
    ]
    assert table.left_out.columns.tolist() == ["id", "where", "reason", "source_reason"]


def test_whole_numbers_as_ids_have_no_point(tmp_path):
    path = tmp_path / "t.parquet"
    rows = {"id": [1.0, math.nan], "lattice": [CUBE] * 2, "species": [["Na"]] * 2, "frac_coords": [[0.0] * 3] * 2}
    pd.DataFrame(rows).to_parquet(path)
    assert read_crystals(path).crystals.ids.tolist() == ["1"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["Na", CIF[:200]]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["lattice", "species", "frac_coords", "structure"]), JSON), max_size=4))
def test_whatever_a_row_holds_it_is_read_or_left_out(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("fuzz") / "t.jsonl"
    rows = [{"id": "good", **GOOD}, {"id": "odd", **GOOD, **dict(changes)}]
    path.write_text("\n".join(map(json.dumps, rows)))
    table = read_crystals(path)
    assert table.crystals.ids[0] == "good"
    assert len(table) + len(table.left_out) == 2
    assert np.isfinite(table.crystals.lattice).all()
    assert np.isfinite(table.crystals.frac_coords).all()
    assert (table.left_out["reason"].str.len() > 0).all()


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([["lattice"], ["lattice", "matrix"], ["sites"], ["sites", 0], ["sites", 0, "abc"]])
    | st.sampled_from([["sites", 0, "species"], ["sites", 0, "species", 0], ["sites", 0, "species", 0, "element"]]),
    JSON,
)
def test_whatever_a_pymatgen_dict_holds_it_is_read_or_left_out(tmp_path_factory, place, value):
    structure = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).as_dict()
    parent = structure
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    path = tmp_path_factory.mktemp("fuzz") / "t.jsonl"
    path.write_text(json.dumps({"structure": structure}))
    table = read_crystals(path)
    assert len(table) + len(table.left_out) == 1
