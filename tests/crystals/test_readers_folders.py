"""Folders of structure files, with and without labels."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest
from format_cases import (
    GAPS,
    IDS,
    KINDS,
    SPELT,
    check,
    check_spelling,
    frame_of,
    three_structures,
)
from reading import read_crystals

from matcard.crystals.read import read_crystals as read_all
from matcard.errors import InputError


@pytest.fixture(scope="module")
def structures():
    return three_structures()


FORMS = ["{}.cif", "POSCAR_{}", "{}.vasp"]


def _folder(tmp_path, structures):
    for name, form, structure in zip(IDS, FORMS, structures, strict=True):
        structure.to(filename=str(tmp_path / form.format(name)), fmt="cif" if form.endswith("cif") else "poscar")
    return tmp_path


@pytest.mark.parametrize("jobs", [1, 2])
def test_folder_without_header(tmp_path, structures, jobs, monkeypatch):
    monkeypatch.setattr("matcard.crystals.read._TASK", 2)
    _folder(tmp_path, structures)
    rows = zip(IDS, GAPS, strict=True)
    (tmp_path / "id_prop.csv").write_text("".join(f"{name}, {gap}\n" for name, gap in rows))
    table = read_crystals(tmp_path, target="gap", jobs=jobs)
    check(table, structures, columns=("gap",), sorted_sites=True)
    assert list(read_crystals(tmp_path).columns) == ["column 2"]


@pytest.mark.parametrize("first", ["material_id", "whatever"])
def test_folder_with_header(tmp_path, structures, first):
    _folder(tmp_path, structures)
    frame_of().rename(columns={"material_id": first}).to_csv(tmp_path / "id_prop.csv", index=False)
    check(read_crystals(tmp_path, target="kind"), structures, sorted_sites=True)


def test_folder_whose_labels_are_words(tmp_path, structures):
    """Words in the first line are labels, unless they are known as names of columns."""
    _folder(tmp_path, structures)
    rows = zip(IDS, KINDS, strict=True)
    (tmp_path / "id_prop.csv").write_text("".join(f"{name},{kind}\n" for name, kind in rows))
    table = read_crystals(tmp_path)
    assert table.columns["column 2"].tolist() == KINDS
    assert read_crystals(tmp_path, target="kind").columns["kind"].tolist() == KINDS


@pytest.mark.parametrize("header", [True, False])
def test_labels_of_a_folder_are_missing_only_where_empty(tmp_path, structures, header):
    ids = ["NA", "None", "null", "nan", "-"]
    for name in ids:
        structures[0].to(str(tmp_path / f"{name}.cif"))
    frame = pd.DataFrame({"id": ids, **{name: written for name, (written, _) in SPELT.items()}})
    frame.to_csv(tmp_path / "id_prop.csv", index=False, header=header)
    table = read_crystals(tmp_path)
    assert table.crystals.ids.tolist() == ids
    names = dict(zip(table.columns, SPELT, strict=True))
    check_spelling(table.columns.rename(columns=names))


def test_files_without_labels(tmp_path, structures):
    folder = _folder(tmp_path, structures)
    expected = [structures[k] for k in (2, 1, 0)]  # sorted by file name: 007.vasp, POSCAR_a-2, a-1.cif
    table = read_crystals(folder)
    check(table, expected, columns=(), ids=["007", "a-2", "a-1"], sorted_sites=True)
    table = read_crystals(f"{folder}/*.cif")
    check(table, structures[:1], columns=(), ids=["a-1"], sorted_sites=True)
    table = read_crystals(folder / "POSCAR_a-2")
    check(table, structures[1:2], columns=(), ids=["a-2"])


def _salts(folder, text):
    cell = "_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
    sites = "_cell_angle_gamma 90\nloop_\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n"
    content = f"data_a\n{cell}{sites}_atom_site_fract_z\nCs 0 0 0\nCl .5 .5 .5\n"
    (folder / "a.cif").write_text(content)
    (folder / "b.CIF").write_text(content)
    (folder / "c.cif.gz").write_bytes(gzip.compress(content.encode()))
    (folder / "id_prop.csv").write_text(text)
    return folder


def test_names_with_their_ending_find_files_that_were_packed_or_renamed_since(tmp_path):
    crystals = read_all(_salts(tmp_path, "a.cif,1\nb.cif,2\nc.cif,3\nd.cif,4\n"))
    assert crystals.ids.tolist() == ["a.cif", "b.cif", "c.cif", "d.cif"]
    assert [fault is None for fault in crystals.faults] == [True, True, True, False]
    assert crystals.faults[3].startswith("no structure file (looked for d.cif, ")


def test_two_rows_of_one_file_are_one_crystal(tmp_path):
    crystals = read_all(_salts(tmp_path, "id,label\na.cif,1\nb,2\na,3\nc,4\n"))
    assert crystals.faults.tolist() == [None, None, "a.cif is that of line 2, too; delete one row", None]


@pytest.mark.parametrize(("separator", "called"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_than_commas_are_named(tmp_path, separator, called):
    _salts(tmp_path, f"id{separator}label\na{separator}1\n")
    with pytest.raises(InputError, match=rf"id_prop\.csv: its columns are separated by {called}; write commas"):
        read_all(tmp_path)
