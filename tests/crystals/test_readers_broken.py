"""Files and folders that cannot be used as a whole stop with a message, without a traceback."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest
from malformed_cases import CIF, GOOD
from pymatgen.core import Lattice, Structure
from reading import from_structures, read_crystals

from matcard.errors import InputError

ROW = json.dumps({"id": "a", **GOOD})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1 but not really PAR1", r"t\.parquet cannot be read"),
        ("t.parquet", b"", r"t\.parquet cannot be read"),
        ("t.csv", b"", r"t\.csv cannot be read: No columns"),
        ("t.csv", b"id,cif\n1,a\n2,b,c,d\n", r"t\.csv cannot be read: .*line 3"),
        ("t.csv", b"id,cif\n1,a,b\n2,b,c\n", r"t\.csv has more fields"),
        ("t.csv", b"id,cif\n\xff\x01,b\n", r"t\.csv is not text \(it holds the byte 0xff\); save it as UTF-8"),
        ("t.csv", "id,cif\n1,a\u00e9\n".encode("utf-16-be"), r"t\.csv is not text"),
        ("id_prop.csv", b"a,caf\xe9\x00\n", r"id_prop\.csv is not text \(it holds the byte 0x00\); save it as UTF-8"),
        ("t.csv", b"id,cif\n", r"t\.csv has no rows"),
        ("t.csv", b"id,gap\n1,2\n", r"t\.csv: no column with structures among 'id', 'gap'; looked for lattice_abc"),
        ("t.csv.gz", gzip.compress(b"id,cif\n1,a\n" * 99, mtime=0)[:-20], r"t\.csv\.gz cannot be read"),
        ("t.jsonl", f"{ROW}\n{ROW[:-9]}\n".encode(), r"t\.jsonl line 2 is not JSON"),
        ("t.jsonl", b"[1, 2]\n", r"line 1 is a list"),
        ("t.jsonl", b"\n\n", r"has no rows"),
        ("t.jsonl", b"", r"has no rows"),
        ("t.jsonl.gz", gzip.compress(ROW.encode() * 99, mtime=0)[:-30], r"cannot be read: Compressed file ended"),
        ("t.jsonl.gz", ROW.encode(), r"cannot be read: Not a gzipped file"),
        (
            "t.json.gz",
            gzip.compress(b'{"columns": ["structure"], "index": [0], "data": [[', mtime=0)[:-12],
            r"cannot be read",
        ),
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


def test_unknown_columns_and_sources(tmp_path):
    path = tmp_path / "crystals.csv"
    pd.DataFrame({"id": ["a"], "cif": [CIF], "band_gap": [1.0]}).to_csv(path, index=False)
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
        read_crystals(tmp_path)
    (tmp_path / "a.cif").write_text(CIF)
    assert len(read_crystals(tmp_path)) == 1
    (tmp_path / "id_prop.csv").write_text("a\n")
    assert read_crystals(tmp_path).columns.empty


def test_numbers_that_do_not_match():
    structure = Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]])
    with pytest.raises(InputError, match="1 structures, 2 ids"):
        from_structures([structure], ["a", "b"])
    with pytest.raises(InputError, match="0 structures, 0 ids"):
        from_structures([])
