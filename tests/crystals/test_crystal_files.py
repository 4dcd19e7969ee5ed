"""What a file is: by its name in any case, compressed or not, and as text in any of the usual codes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed_cases import CIF, POSCAR

from matcard.crystals.read import read_crystals
from matcard.data.kinds import kind_of
from matcard.data.options import DataOptions
from matcard.errors import InputError, MatcardWarning
from matcard.files import decode_text, file_kind, is_structure_file, open_bytes, structure_name

PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize(
    ("name", "kind", "stands_for"),
    [
        ("NaCl.cif", "cif", "NaCl"),
        ("NaCl.CIF", "cif", "NaCl"),
        ("NaCl.cif.gz", "cif", "NaCl"),
        ("Na.Cl.Cif.BZ2", "cif", "Na.Cl"),
        ("moments.mcif", "cif", "moments"),
        ("POSCAR_NaCl", "poscar", "NaCl"),
        ("POSCAR-NaCl", "poscar", "NaCl"),
        ("contcar.NaCl.xz", "poscar", "NaCl"),
        ("CONTCAR", "poscar", "CONTCAR"),
        ("CONTCAR.gz", "poscar", "CONTCAR"),
        ("NaCl.poscar", "poscar", "NaCl"),
        ("NaCl.VASP", "poscar", "NaCl"),
        ("POSCARS.csv", "csv", "POSCARS.csv"),
        ("t.jsonl.gz", "jsonl", "t.jsonl"),
        ("t.extxyz", "xyz", "t.extxyz"),
        ("run.log", "other", "run.log"),
    ],
)
def test_kinds_and_ids(name, kind, stands_for):
    assert file_kind(Path(name)) == kind
    assert is_structure_file(Path(name)) == (kind in ("cif", "poscar"))
    assert structure_name(Path(name)) == stands_for


@given(st.text(max_size=30))
def test_text_comes_back_from_what_is_usual(text):
    for code in ("utf-8", "utf-8-sig", "utf-16"):
        if "\0" not in text and not (code == "utf-8" and text.startswith("\ufeff")):
            assert decode_text(text.encode(code, "replace")) == text.encode(code, "replace").decode(code)


@given(st.text(alphabet="ab\u00e9\u00fc\u00b0\u00bd\n", max_size=30))
def test_latin_1_comes_back_where_it_is_no_utf8(text):
    content = (text + "\u00e9 ").encode("latin-1")
    assert decode_text(content) == text + "\u00e9 "


def test_binary_content_is_no_text():
    for content in (b"\x00\x01", b"ab\x00", b"\xff\x01\x02", "ab".encode("utf-16-le"), "ab".encode("utf-32")):
        with pytest.raises(UnicodeDecodeError):
            decode_text(content)


@pytest.mark.parametrize("ending", PACK)
def test_bytes_are_those_within(tmp_path, ending):
    path = tmp_path / f"a.cif{ending}"
    path.write_bytes(PACK[ending](b"some bytes"))
    with open_bytes(path) as file:
        assert file.read() == b"some bytes"


# ---- folders from anywhere


def test_a_folder_of_names_in_all_ways(tmp_path):
    """Of Windows, of VASP and of workflows: a label finds its file whatever the file is called."""
    files = {
        "NaCl.CIF": CIF,
        "POSCAR-KCl": POSCAR.replace("Na", "K"),
        "LiCl.poscar": POSCAR.replace("Na", "Li"),
        "CONTCAR_RbCl": POSCAR.replace("Na", "Rb"),
        "csf.cif": CIF.replace("Na1 Na", "Cs1 Cs").replace("Cl1 Cl", "F1 F"),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "KF.cif.gz").write_bytes(
        gzip.compress(CIF.replace("Na1 Na", "K1 K").replace("Cl1 Cl", "F1 F").encode())
    )
    (tmp_path / "id_prop.csv").write_text("id,phase\nNaCl,a\nKCl,b\nLiCl,a\nRbCl,b\nCsF,a\nKF,b\n")
    crystals = read_crystals(tmp_path)
    assert crystals.faults.tolist() == [None] * 6
    formulas = [crystals.structure(i).composition.reduced_formula for i in range(6)]
    assert formulas == ["NaCl", "KCl", "LiCl", "RbCl", "CsF", "KF"]


def test_names_that_differ_by_case_alone_are_not_guessed(tmp_path):
    for name in ("nacl.cif", "NACL.cif"):
        (tmp_path / name).write_text(CIF)
    (tmp_path / "id_prop.csv").write_text("id,phase\nNaCl,a\nnacl,b\n")
    with pytest.warns(MatcardWarning, match="1 structure files .* NACL.cif"):
        crystals = read_crystals(tmp_path)
    assert "differ from 'NaCl' by upper and lower case" in crystals.faults[0]
    assert crystals.sound.tolist() == [False, True]


def test_a_label_without_file_says_what_was_looked_for(tmp_path):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / "id_prop.csv").write_text("id,phase\na,x\nb,y\n")
    crystals = read_crystals(tmp_path)
    assert crystals.where.tolist() == ["id_prop.csv line 2 (a.cif)", "id_prop.csv line 3"]
    assert "no structure file (looked for b.cif" in crystals.faults[1]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_a_compressed_file_is_read_as_the_file_inside_it(tmp_path, ending):
    """The same id, the same checks: what the CIF reader refuses is refused, too."""
    texts = {"good": CIF, "mixed": CIF.replace("Na1 Na 0", "Na1 Na,K 0"), "lost": CIF.replace("Na 0 0 0", "Na 0 ? 0")}
    for name, text in texts.items():
        (tmp_path / f"{name}.cif").write_text(text)
        (tmp_path / f"{name}.cif{ending}").write_bytes(PACK[ending](text.encode()))
    (tmp_path / f"CONTCAR{ending}").write_bytes(PACK[ending](POSCAR.encode()))
    plain = read_crystals([tmp_path / f"{name}.cif" for name in texts])
    packed = read_crystals([tmp_path / f"{name}.cif{ending}" for name in texts])
    assert packed.ids.tolist() == plain.ids.tolist() == list(texts)
    assert packed.faults.tolist() == plain.faults.tolist()
    assert packed.sound.tolist() == [True, False, False]
    np.testing.assert_array_equal(packed.frac_coords, plain.frac_coords)
    (only,) = read_crystals(tmp_path / f"CONTCAR{ending}").num_sites
    assert only == 2
    assert len(read_crystals(f"{tmp_path}/*.cif{ending}")) == 3


def test_the_table_of_labels_stands_for_its_folder(tmp_path):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / "id_prop.csv").write_text("id,label,gap\na,x,1.5\n")
    crystals, folder = read_crystals(tmp_path / "id_prop.csv"), read_crystals(tmp_path)
    assert crystals.ids.tolist() == folder.ids.tolist() == ["a"]
    assert list(crystals.columns) == ["label", "gap"]
    assert kind_of(DataOptions(source=str(tmp_path / "id_prop.csv"))) == "crystals"


def test_a_file_of_several_blocks_is_a_row_for_each_but_no_label_stands_for_them(tmp_path):
    text = CIF + CIF.replace("data_x", "data_y").replace("_cell_length_a 4", "_cell_length_a 5")
    (tmp_path / "two.cif").write_text(text)
    crystals = read_crystals(tmp_path)
    assert crystals.ids.tolist() == ["two:x", "two:y"]
    assert crystals.where.tolist() == [f"{tmp_path / 'two.cif'} block {name}" for name in "xy"]
    assert crystals.lattice[:, 0, 0].tolist() == pytest.approx([4, 5])
    (tmp_path / "id_prop.csv").write_text("id,gap\ntwo,1\n")
    assert "the CIF holds 2 structures (x, y)" in read_crystals(tmp_path).faults[0]


@pytest.mark.parametrize("mark", [True, False])
def test_a_byte_order_mark_changes_nothing(tmp_path, mark):
    """Of each kind of text: a CIF, a POSCAR, JSON of both kinds, CSV, extended XYZ, labels."""
    row = '{"id": "a", "cif": "' + CIF.replace("\n", "\\n") + '"}'
    texts = {
        "a.cif": CIF,
        "b.vasp": POSCAR,
        "t.json": f"[{row}]",
        "t.jsonl": f"{row}\n",
        "t.csv": 'id,cif\na,"' + CIF + '"\n',
        "t.extxyz": '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 pbc="T T T"\nNa 0 0 0\nCl 2 2 2\n',
        "folder/id_prop.csv": "id,gap\na,1\n",
    }
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.cif").write_text(CIF)
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig" if mark else "utf-8")
    for name in texts:
        crystals = read_crystals(tmp_path / name)
        assert crystals.faults.tolist() == [None], name
        assert crystals.numbers.tolist() == [11, 17], name
        assert crystals.ids[0] == {"b.vasp": "b", "t.extxyz": "1"}.get(name, "a"), name


def test_a_stream_is_read_as_a_file_is(tmp_path):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / "b.vasp").write_text(POSCAR)
    sources = [
        CIF + CIF.replace("data_x", "data_y"),
        f"{tmp_path / 'a.cif'}\n{tmp_path / 'b.vasp'}\n{tmp_path}/no.cif\n",
    ]
    blocks, paths = (read_crystals(io.BytesIO(text.encode()), repeats=True) for text in sources)
    assert blocks.ids.tolist() == ["x", "y"]
    assert paths.ids.tolist() == ["a", "b", "no"]
    assert paths.sound.tolist() == [True, True, False]
    assert "no such file" in paths.faults[2]
    with pytest.raises(InputError, match="standard input is empty"):
        read_crystals(io.BytesIO(b"# a comment\n"))


def test_blocks_of_a_stream_without_cell_and_sites_are_passed_over_beside_others():
    journal = "data_global\n_journal_year 2020\n"
    damaged = CIF[: CIF.index("loop_")].replace("data_x", "data_cut")
    crystals = read_crystals(io.BytesIO((journal + CIF + damaged).encode()), repeats=True)
    assert crystals.ids.tolist() == ["x", "cut"]
    assert crystals.where.tolist() == ["standard input block 2", "standard input block 3"]
    assert crystals.sound.tolist() == [True, False]
    alone = read_crystals(io.BytesIO(journal.encode()))
    assert alone.ids.tolist() == ["global"]
    assert "no atom sites" in alone.faults[0]


def test_labels_in_latin_1_and_ids_with_a_no_break_space(tmp_path):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / "id_prop.csv").write_bytes("id,phase\na\u00a0,Z\u00e9olithe\n".encode("latin-1"))
    crystals = read_crystals(tmp_path)
    assert crystals.ids.tolist() == ["a"]
    assert crystals.columns["phase"].tolist() == ["Z\u00e9olithe"]


def test_rows_are_named_by_the_line_that_they_begin_in(tmp_path):
    frame = pd.DataFrame({"id": list("abc"), "cif": [CIF, "nothing", CIF]})
    text = frame.to_csv(index=False).replace("\nb,", "\n\n\nb,")  # blank lines are no rows
    (tmp_path / "t.csv").write_text(text)
    lines = text.split("\n")
    crystals = read_crystals(tmp_path / "t.csv")
    for name, where in zip(crystals.ids, crystals.where, strict=True):
        number = int(where.removeprefix("t.csv line "))
        assert lines[number - 1].startswith(f"{name},")
