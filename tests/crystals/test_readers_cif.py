"""What a CIF may hold, and what leaves it out."""

from __future__ import annotations

import warnings

import ase.io
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed_cases import CIF
from reading import from_atoms, read_crystals

from matcard.errors import MatcardWarning


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Na 0 0 0 1", "Na 0 0 0 0.5", "atom site 1 (Na1) is disordered"),
        ("Na 0 0 0 1", "Na 0 0 0 .", "atom site 1 (Na1) has occupancy '.'"),
        ("Na 0 0 0 1", "Na 0 0 0 0.0", "atom site 1 (Na1) has occupancy '0.0'"),
        ("Na 0 0 0 1", "Na 0 . 0 1", "atom site 1 (Na1) has no coordinate y"),
        ("Na 0 0 0 1", "Na 0 0 ? 1", "atom site 1 (Na1) has no coordinate z"),
        ("Na 0 0 0 1", "Na 0 0 abc 1", "the coordinate z of atom site 1 (Na1) is 'abc'"),
        ("Na 0 0 0 1", "Na 0 0 nan 1", "the coordinate z of atom site 1 (Na1) is 'nan'"),
        ("Na 0 0 0 1", "? 0 0 0 1", "atom site 1 (Na1) has the unknown element '?'"),
        ("Na1 Na 0 0 0 1", "Nx1 Nx 0 0 0 1", "unknown element 'Nx'"),
        ("Na1 Na 0 0 0 1", "D1 D 0 0 0 1", "unknown element 'D'"),
        ("Na1 Na 0 0 0 1", "X1 X 0 0 0 1", "unknown element 'X'"),
        ("Na1 Na 0 0 0 1", "Wat1 Wat 0 0 0 1", "unknown element 'Wat'"),
        ("Na1 Na 0 0 0 1", "N1 NO3 0 0 0 1", "atom site 1 (N1) has 'NO3', which may be No or N"),
        (
            "Na 0 0 0 1",
            "Na 0 0 0 1\nK1 K 0 0 0 1",
            "(Na1) and atom site 2 (K1) overlap, 0.000 angstrom apart",
        ),
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
        ("_cell_length_a 4", "_cell_length_a abc", "_cell_length_a is 'abc', which is no number"),
        ("_cell_length_a 4", "", "_cell_length_a is missing or empty"),
        ("'P 1'", "'F d -3 z'", "_symmetry_space_group_name_H-M = F d -3 z is not understood"),
        ("0.5 0.5 0.5 1\n", "0.5", "a loop has a row with too few or too many values"),
        ("_atom_site_fract_x", "_atom_site_cartn_x", "no atom sites in fractional coordinates"),
        (CIF, CIF + CIF.replace("data_x", "data_y"), "the CIF holds 2 structures (x, y)"),
        (CIF, CIF + CIF, "the CIF holds 2 structures (x, x)"),
        (CIF, "this is no CIF", "'this is no CIF' is no structure; CIF, POSCAR"),
        (CIF, " ", "the structure is missing here"),
    ],
)
def test_a_bad_cif_is_left_out(tmp_path, old, new, reason):
    assert old in CIF
    path = tmp_path / "t.csv"
    pd.DataFrame({"id": ["good", "bad"], "cif": [CIF, CIF.replace(old, new)], "gap": [1, 2]}).to_csv(path)
    table = read_crystals(path)
    assert table.crystals.ids.tolist() == ["good"]
    assert table.left_out[["id", "where", "gap"]].to_numpy().tolist() == [["bad", "t.csv line 20", 2]]
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
    with pytest.warns(MatcardWarning, match=r"1 doubts .*salt\.cif: Missing elements: .* less H than"):
        table = read_crystals(path)
    assert table.crystals.num_sites.tolist() == [2]


def test_mixed_sites_of_ases_cif_reader_are_disordered(tmp_path):
    path = tmp_path / "mixed.cif"
    path.write_text(CIF.replace("Na1 Na 0 0 0 1", "Na1 Na 0 0 0 0.5\nK1 K 0 0 0 0.5"))
    table = from_atoms([ase.io.read(path)])
    assert "is disordered" in table.left_out["reason"][0]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32", "utf-32-le"])
def test_a_cif_that_is_not_utf8_is_told(tmp_path, encoding):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / "b.cif").write_text(CIF, encoding=encoding)
    table = read_crystals(tmp_path)
    assert table.crystals.ids.tolist() == ["a"]
    assert "the file is not UTF-8 text" in table.left_out["reason"][0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_other_text_is_read(tmp_path, encoding):
    (tmp_path / "a.cif").write_text(f"# \u00e9\n{CIF}", encoding=encoding)
    assert read_crystals(tmp_path / "a.cif").crystals.num_sites.tolist() == [2]


def test_a_byte_that_does_not_concern_the_structure_does_no_harm(tmp_path):
    (tmp_path / "a.cif").write_text(f"# André\n{CIF}_publ_author_name 'André'\n", encoding="latin-1")
    assert read_crystals(tmp_path / "a.cif").crystals.ids.tolist() == ["a"]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, len(CIF)), st.integers(0, 40), st.text(max_size=6))
def test_whatever_a_cif_holds_it_is_read_or_left_out(tmp_path_factory, start, length, patch):
    path = tmp_path_factory.mktemp("fuzz") / "t.cif"
    path.write_text(CIF[:start] + patch + CIF[start + length :], encoding="utf-8", errors="replace")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatcardWarning)
        table = read_crystals(path)
    assert len(table) + len(table.left_out) == 1
