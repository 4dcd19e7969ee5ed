"""Bad rows are left out with a reason; bad files stop with a message. Nothing is replaced, no traceback."""

from __future__ import annotations

import gzip
import json
import math

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Molecule, Structure

from matcard.crystals import from_atoms, from_structures, read_crystals
from matcard.errors import InputError, MatcardWarning

CUBE = [4.0, 4.0, 4.0, 90.0, 90.0, 90.0]
GOOD = {"lattice": CUBE, "species": ["Na", "Cl"], "frac_coords": [0, 0, 0, 0.5, 0.5, 0.5]}


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
        ({"frac_coords": [0, 0, 0, 0.99, 0.01, 0.999]}, "sites 1 and 2 overlap, 0.057 angstrom apart"),
        ({"frac_coords": [0, 0, 0, 1, 2, -3]}, "sites 1 and 2 overlap, 0.000 angstrom apart"),
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
        ({"lattice": LATTICE, "sites": [_site(abc=[0] * 6)]}, "1 sites are (2, 3)"),
        ({"lattice": {"matrix": [[4, 0], [0, 4]]}, "sites": [_site()]}, "the lattice is (2, 2)"),
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


CIF = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 1
"""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Na 0 0 0 1", "Na 0 0 0 0.5", "site 1 is disordered"),
        ("Na 0 0 0 1", "Na 0 0 0 .", "atom site 1 has occupancy '.'"),
        ("Na 0 0 0 1", "Na 0 0 0 0.0", "atom site 1 has occupancy '0.0'"),
        ("Na 0 0 0 1", "Na 0 . 0 1", "atom site 1 has no coordinate y"),
        ("Na 0 0 0 1", "Na 0 0 ? 1", "atom site 1 has no coordinate z"),
        ("Na 0 0 0 1", "Na 0 0 abc 1", "the CIF gives no structure: could not convert string to float"),
        ("Na 0 0 0 1", "Na 0 0 nan 1", "the CIF gives no structure: cannot convert float NaN"),
        ("Na 0 0 0 1", "? 0 0 0 1", "atom site 1 has the unknown element '?'"),
        ("Na1 Na 0 0 0 1", "Nx1 Nx 0 0 0 1", "unknown element 'Nx'"),
        ("Na1 Na 0 0 0 1", "D1 D 0 0 0 1", "unknown element 'D'"),
        ("Na1 Na 0 0 0 1", "X1 X 0 0 0 1", "unknown element 'X'"),
        ("Na1 Na 0 0 0 1", "Wat1 Wat 0 0 0 1", "unknown element 'Wat'"),
        ("Na1 Na 0 0 0 1", "N1 NO3 0 0 0 1", "the sites are of ['Cl', 'No'] but were read as ['Cl', 'N']"),
        ("Na 0 0 0 1", "Na 0 0 0 1\nK1 K 0 0 0 1", "the CIF gives no structure: Occupancy 2.0 exceeded"),
        ("Na 0 0 0 1", "Na 0 0 0 1\nK1 K 0 0 0.05 1", "overlap, 0.200 angstrom apart"),
        (
            "_cell_length_a 4",
            "_cell_length_a 0",
            "= 0 4 4 90 90 90; correct _cell_length_*/_cell_angle_*",
        ),
        ("_cell_length_b 4", "_cell_length_b 0.0(1)", "zero-volume cell"),
        ("_cell_angle_alpha 90", "_cell_angle_alpha 0", "zero-volume cell"),
        ("_cell_angle_gamma 90", "_cell_angle_gamma 180", "zero-volume cell"),
        ("alpha 90\n_cell_angle_beta 90", "alpha 30\n_cell_angle_beta 30", "zero-volume cell"),
        ("_cell_length_a 4", "_cell_length_a abc", "could not convert string to float"),
        ("_cell_length_a 4", "", "the CIF has no cell"),
        ("'P 1'", "'F d -3 z'", "_symmetry_space_group_name_H-M = F d -3 z is not understood"),
        ("0.5 0.5 0.5 1\n", "0.5", "malformed structure (ValueError"),
        ("_atom_site_fract_x", "_atom_site_cartn_x", "no atom sites in fractional coordinates"),
        (CIF, CIF + CIF.replace("data_x", "data_y"), "the CIF holds several structures"),
        (CIF, CIF + CIF, "the CIF holds several structures"),
        (CIF, "this is no CIF", "no atom sites"),
        (CIF, " ", "no atom sites"),
    ],
)
def test_a_bad_cif_is_left_out(tmp_path, old, new, reason):
    assert old in CIF
    path = tmp_path / "t.csv"
    pd.DataFrame({"id": ["good", "bad"], "cif": [CIF, CIF.replace(old, new)], "gap": [1, 2]}).to_csv(path)
    table = read_crystals(path)
    assert table.crystals.ids.tolist() == ["good"]
    assert table.left_out[["id", "where", "gap"]].to_numpy().tolist() == [["bad", "t.csv row 2", 2]]
    assert reason in table.left_out["reason"][0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Na1 Na", "Na1 Na1+"),
        ("Na1 Na", "NA1 NA"),
        ("_atom_site_type_symbol\n", "_atom_site_charge\n"),
        ("0.5 0.5 0.5 1", "0.5(1) 0.5 5.0E-1 1.00"),
        ("0.5 0.5 0.5 1", "0.5 0.5 0.5 ?"),
        ("_symmetry_space_group_name_H-M 'P 1'\n", ""),
        ("_symmetry_space_group_name_H-M 'P 1'\n", "_symmetry_space_group_name_H-M 'P m -3 m'\n"),
        ("_symmetry_space_group_name_H-M 'P 1'\n", "_space_group_IT_number 221\n"),
        ("data_x", "data_global\n_journal_name 'x'\ndata_x"),
    ],
)
def test_what_a_cif_may_hold(tmp_path, old, new):
    assert old in CIF
    path = tmp_path / "salt.cif"
    path.write_text(CIF.replace(old, new))
    table = read_crystals(path)
    assert table.left_out.empty
    assert sorted(zip(table.crystals.numbers, table.crystals.frac_coords.tolist(), strict=True)) == [
        (11, [0, 0, 0]),
        (17, [0.5, 0.5, 0.5]),
    ]


def test_a_cif_at_odds_with_its_formula_is_read_with_a_warning(tmp_path):
    path = tmp_path / "salt.cif"
    path.write_text(CIF.replace("data_x", "data_x\n_chemical_formula_sum 'Na Cl H2'"))
    with pytest.warns(MatcardWarning, match=r"1 doubts .*salt\.cif: Missing elements H"):
        table = read_crystals(path)
    assert table.crystals.num_sites.tolist() == [2]


POSCAR = "c\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"


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
    assert table.left_out["target"].tolist() == list(range(1, 10))
    expected = [
        "the POSCAR names no elements",
        "malformed structure (IndexError",
        "unknown element 'D'",
        "zero-volume cell",
        "the file is not UTF-8 text",
        "the CIF has no atom sites",
        "holds 2 frames",
        "no structure file (looked for absent.cif, absent.vasp",
        "duplicated id 'good', first in id_prop.csv row 1 (good.vasp)",
    ]
    for reason, start in zip(table.left_out["reason"], expected, strict=True):
        assert reason.startswith(start)
    assert table.left_out["where"].tolist()[-2:] == ["id_prop.csv row 9", "id_prop.csv row 10 (good.vasp)"]


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
    expected = ["no unit cell", "periodic in TTF only", "sites 1 and 2 overlap", "malformed frame (KeyError: 'Qq')"]
    for reason, start in zip(table.left_out["reason"], expected, strict=True):
        assert reason.startswith(start)


def test_bad_objects_are_left_out():
    lattice = Lattice.cubic(4)
    good = Structure(lattice, ["Na"], [[0, 0, 0]])
    disordered = Structure(lattice, [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    dummy = Structure(lattice, ["X"], [[0, 0, 0]])
    molecule = Molecule(["Na"], [[0, 0, 0]])
    table = from_structures([good, disordered, dummy, molecule, good], list("abcda"))
    assert table.crystals.ids.tolist() == ["a"]
    assert table.left_out["where"].tolist() == [f"structures[{k}]" for k in range(1, 5)]
    expected = ["site 1 is disordered (0.5 Fe", "site 1 has the unknown element 'X'", "a Molecule has no"]
    for reason, start in zip(table.left_out["reason"], [*expected, "duplicated id 'a'"], strict=True):
        assert reason.startswith(start)
    assert from_atoms([Atoms("X", cell=[4, 4, 4], pbc=True)]).left_out["reason"][0].startswith("site 1 has the unk")


def test_mixed_sites_of_ases_cif_reader_are_disordered(tmp_path):
    path = tmp_path / "mixed.cif"
    path.write_text(CIF.replace("Na1 Na 0 0 0 1", "Na1 Na 0 0 0 0.5\nK1 K 0 0 0 0.5"))
    table = from_atoms([ase.io.read(path)])
    assert "is disordered" in table.left_out["reason"][0]


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
            "duplicated id 'a', first in t.parquet row 1; give each crystal an id of its own",
            "y",
        ],
    ]
    assert table.left_out.columns.tolist() == ["id", "where", "reason", "source_reason"]


def test_whole_numbers_as_ids_have_no_point(tmp_path):
    path = tmp_path / "t.parquet"
    rows = {"id": [1.0, math.nan], "lattice": [CUBE] * 2, "species": [["Na"]] * 2, "frac_coords": [[0.0] * 3] * 2}
    pd.DataFrame(rows).to_parquet(path)
    assert read_crystals(path).crystals.ids.tolist() == ["1"]


ROW = json.dumps({"id": "a", **GOOD})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1 but not really PAR1", r"t\.parquet cannot be read"),
        ("t.parquet", b"", r"t\.parquet cannot be read"),
        ("t.csv", b"", r"t\.csv cannot be read: No columns"),
        ("t.csv", b"id,cif\n1,a\n2,b,c,d\n", r"t\.csv cannot be read: .*line 3"),
        ("t.csv", b"id,cif\n1,a,b\n2,b,c\n", r"t\.csv has more fields"),
        ("t.csv", b"id,cif\n\xff\xfe,b\n", r"t\.csv is not UTF-8 text \(it holds the byte 0xff\); save it as UTF-8"),
        ("t.csv", "id,cif\n1,a\n".encode("utf-16"), r"t\.csv is not UTF-8 text"),
        ("t.csv", b"id,cif\n" + b"1,a\n" * 9999 + b"1,\xe9\n", r"t\.csv is not UTF-8 text"),
        ("id_prop.csv", b"a,caf\xe9\n", r"id_prop\.csv is not UTF-8 text \(it holds the byte 0xe9\); save it as UTF-8"),
        ("t.csv", b"id,cif\n", r"t\.csv has no rows"),
        ("t.csv", b"id,gap\n1,2\n", r"t\.csv: no column with structures among 'id', 'gap'; looked for lattice_abc"),
        ("t.csv.gz", gzip.compress(b"id,cif\n1,a\n" * 99)[:-20], r"t\.csv\.gz cannot be read"),
        ("t.jsonl", f"{ROW}\n{ROW[:-9]}\n".encode(), r"t\.jsonl line 2 is not JSON"),
        ("t.jsonl", b"[1, 2]\n", r"line 1 is a list"),
        ("t.jsonl", b"\n\n", r"has no rows"),
        ("t.jsonl", b"", r"has no rows"),
        ("t.jsonl.gz", gzip.compress(ROW.encode() * 99)[:-30], r"cannot be read: Compressed file ended"),
        ("t.jsonl.gz", ROW.encode(), r"cannot be read: Not a gzipped file"),
        ("t.json.gz", gzip.compress(b'{"columns": ["structure"], "index": [0], "data": [[')[:-12], r"cannot be read"),
        ("t.json", b'{"columns": ["cif"], "index": [0, 1], "data": [["x"], ["y"', r"broken after row 1"),
        ("t.json", b'{"columns": ["cif"], "index": [0, 1], "data": [["x"]]}', r"2 index entries for 1 rows"),
        ("t.json", b'{"columns": ["cif", "gap"], "index": [0], "data": [["x"]]}', r"cannot be read"),
        ("t.json", b'{"structure": {}}', r"not in matminer's layout"),
        ("t.json", b"nonsense", r"cannot be read"),
        ("t.json", b"[]", r"has no rows"),
        ("t.extxyz", b"what\nis\nthis\n", r"frame 1 begins with 'what'"),
        ("t.extxyz", b'2\nLattice="4 0 0 0 4 0 0 0 4"\nNa 0 0 0\n', r"ends in the middle of frame 1"),
        ("t.db", b"not sqlite at all, whatever it says", r"t\.db cannot be read"),
        ("t.traj", b"nothing", r"t\.traj"),
        ("t.unknown", b"\x01\x02", r"of no known kind"),
    ],
)
def test_a_broken_file_stops_with_its_name(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_crystals(tmp_path if name == "id_prop.csv" else path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_cif_that_is_not_utf8_is_told(tmp_path, encoding):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / "b.cif").write_text(CIF, encoding=encoding)
    table = read_crystals(tmp_path, labels_needed=False)
    assert table.crystals.ids.tolist() == ["a"]
    assert table.left_out["reason"].tolist() == ["the file is not UTF-8 text; save it as UTF-8"]


def test_a_byte_that_does_not_concern_the_structure_does_no_harm(tmp_path):
    (tmp_path / "a.cif").write_text(f"# André\n{CIF}_publ_author_name 'André'\n", encoding="latin-1")
    assert read_crystals(tmp_path / "a.cif").crystals.ids.tolist() == ["a"]


def test_unknown_columns_and_sources(tmp_path):
    path = tmp_path / "crystals.csv"
    pd.DataFrame({"id": ["a"], "cif": [CIF], "band_gap": [1.0]}).to_csv(path, index=False)
    with pytest.raises(
        InputError, match=r"no column 'bandgap' \(--data\.target\): did you mean band_gap\? there are: id"
    ):
        read_crystals(path, target="bandgap")
    with pytest.raises(InputError, match=r"no column 'idd' \(--data\.id_column\)"):
        read_crystals(path, id_column="idd")
    with pytest.raises(InputError, match=r"no column 'poscar' \(--data\.structure_column\)"):
        read_crystals(path, structure_column="poscar")
    with pytest.raises(InputError, match=r"cristals\.csv does not exist.*did you mean crystals\.csv"):
        read_crystals(tmp_path / "cristals.csv")
    with pytest.raises(InputError, match="nor does the folder"):
        read_crystals(tmp_path / "nowhere" / "t.csv")
    with pytest.raises(InputError, match="holds no structure files"):
        read_crystals(f"{tmp_path}/*.cif")


def test_folder_without_labels(tmp_path):
    with pytest.raises(InputError, match="holds no structure files"):
        read_crystals(tmp_path, labels_needed=False)
    (tmp_path / "a.cif").write_text(CIF)
    with pytest.raises(InputError, match=r"has 1 structure files but no id_prop\.csv"):
        read_crystals(tmp_path)
    assert len(read_crystals(tmp_path, labels_needed=False)) == 1
    (tmp_path / "id_prop.csv").write_text("a\n")
    with pytest.raises(InputError, match="one column"):
        read_crystals(tmp_path)
    (tmp_path / "id_prop.csv").write_text("material_id,gap\na,1\n")
    with pytest.raises(InputError, match="no column 'kind'"):
        read_crystals(tmp_path, target="kind")


def test_numbers_that_do_not_match():
    structure = Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]])
    with pytest.raises(InputError, match="1 structures, 2 ids, 1 rows of columns"):
        from_structures([structure], ["a", "b"])
    with pytest.raises(InputError, match="1 structures, 1 ids, 2 rows of columns"):
        from_structures([structure], columns={"gap": [1, 2]})
    with pytest.raises(InputError, match="structures has no rows"):
        from_structures([])


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


@settings(deadline=None, max_examples=30)
@given(st.integers(0, len(CIF)), st.integers(0, 40), st.text(max_size=6))
def test_whatever_a_cif_holds_it_is_read_or_left_out(tmp_path_factory, start, length, patch):
    path = tmp_path_factory.mktemp("fuzz") / "t.cif"
    path.write_text(CIF[:start] + patch + CIF[start + length :], encoding="utf-8", errors="replace")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatcardWarning)
        table = read_crystals(path)
    assert len(table) + len(table.left_out) == 1
