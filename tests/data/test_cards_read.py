"""From a card's files to rows: in matminer's two layouts, CSV, the repository of 3DSC."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
from bad_server import Answer
from card_cases import download_of, make_card
from pymatgen.core import Lattice, Structure
from sample_cases import parted

from matcard.data import sources
from matcard.data.card import load_card
from matcard.data.options import SyntheticOptions
from matcard.data.read import measure_counts
from matcard.data.sources import load_crystals, load_frame
from matcard.errors import InputError, MatcardWarning


def load_table(card, **options):
    return parted(load_crystals(card, **options))


def salt(k):
    return Structure(Lattice.cubic(4 + 0.1 * k), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def split_oriented(ids, gaps, structures):
    """As matminer stores a frame: the rows as lists, structures as dicts."""
    rows = [[gap, structure.as_dict()] for gap, structure in zip(gaps, structures, strict=True)]
    return {"index": list(ids), "columns": ["gap pbe", "structure"], "data": rows}


def records(ids, gaps, structures):
    """As pandas writes a list of records."""
    return [
        {"mpid": name, "gap pbe": gap, "structure": structure.as_dict()}
        for name, gap, structure in zip(ids, gaps, structures, strict=True)
    ]


@pytest.fixture
def placed(cache_folder):
    """Puts a file where a card expects it, so that nothing is asked of the internet."""

    def place(content, name, **card):
        made = make_card(download_of(f"http://127.0.0.1:1/{name}", content), **card)
        made.folder.mkdir(parents=True, exist_ok=True)
        (made.folder / name).write_bytes(content)
        return made

    return place


@pytest.mark.parametrize("layout", [split_oriented, records])
def test_crystals_in_both_layouts_of_matminer(placed, layout):
    names, gaps = ["mp-1", "mp-2", "mp-3"], [0.0, 3.0, 5.5]
    content = gzip.compress(json.dumps(layout(names, gaps, [salt(k) for k in range(3)])).encode())
    card = placed(content, "some_set.json.gz", format="matminer", target="gap pbe", structure_column="structure")
    for _ in range(2):  # parsed, then from the cache
        table = load_table(card)
        assert table.crystals.ids.tolist() == names
        assert table.columns["gap pbe"].tolist() == gaps
        assert table.crystals.lattice[2] == pytest.approx(np.eye(3) * 4.2)
        assert table.crystals.numbers.tolist() == [11, 17] * 3


def test_a_target_that_is_not_in_the_file_is_named(placed):
    content = gzip.compress(json.dumps(split_oriented([1], [0.5], [salt(0)])).encode())
    card = placed(content, "some_set.json.gz", format="matminer", target="gap")
    with pytest.raises(InputError, match=r"no column 'gap' \(--data\.target\): did you mean gap pbe"):
        load_table(card)


def test_any_table_of_crystals(placed):
    content = "material_id,cif,gap\n" + "".join(f'c{k},"{salt(k).to(fmt="cif")}",{k}\n' for k in range(2))
    table = load_table(placed(content.encode(), "a.csv"), jobs=1)
    assert (table.crystals.ids.tolist(), table.columns["gap"].tolist()) == (["c0", "c1"], [0, 1])


def test_compositions_in_matminers_layout(placed):
    held = {"index": [0, 1], "columns": ["composition", "gfa"], "data": [["Al2Ni", True], ["Zr", False]]}
    card = placed(
        gzip.compress(json.dumps(held).encode()),
        "glass.json.gz",
        kind="compositions",
        format="matminer",
        target="gfa",
        composition_column="composition",
    )
    frame = load_frame(card, SyntheticOptions())
    assert frame.to_dict("list") == {"composition": ["Al2Ni", "Zr"], "gfa": [True, False]}
    assert frame["gfa"].dtype == bool


def test_parts(server, cache_folder):
    parts = {"train": b"SiO2,Tg\n70,499\n60,500\n50,\n", "validation": b"SiO2,Tg\n40,600\n30,600.5\n"}
    downloads = [
        download_of(server.says(f"/{part}.csv", Answer(text)), text, part=part) for part, text in parts.items()
    ]
    settings = {"kind": "compositions", "format": "csv", "target": "Tg", "window": (500, 600)}
    frame = load_frame(make_card(*downloads, feature_columns=("SiO2",), **settings), SyntheticOptions())
    assert list(frame) == ["SiO2", "Tg", "part"]
    assert frame["part"].tolist() == ["train"] * 3 + ["validation"] * 2
    with pytest.raises(InputError, match=r"card some_set: no column 'B2O3' in its files, only SiO2, Tg"):
        load_frame(make_card(*downloads, feature_columns=("SiO2", "B2O3"), **settings), SyntheticOptions())
    with pytest.raises(InputError, match=r"no column 'tg' in its files"):
        load_frame(make_card(*downloads, **{**settings, "target": "tg"}), SyntheticOptions())


def test_the_glasses_are_those_that_the_card_describes(test_data, cache_folder):
    card = load_card("deepglassnet")
    card.folder.mkdir(parents=True)
    for name, ours in (("train_tg.csv", "glass_train.csv.gz"), ("validation_tg.csv", "glass_validation.csv.gz")):
        (card.folder / name).write_bytes(gzip.decompress((test_data / ours).read_bytes()))
    frame = load_frame(card, SyntheticOptions())
    assert frame["part"].value_counts().to_dict() == {"train": 28_153, "validation": 7_023}
    assert measure_counts(card) == card.class_counts
    assert frame[[*card.feature_columns, "Tg"]].dtypes.map(lambda kind: kind.kind).isin(["i", "f"]).all()


# A mixed site, as the authors' algorithm writes it.
DOPED = """data_doped
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
  Na Na0 0 0 0 0.9
  K K1 0 0 0 0.1
  Cl Cl2 0.5 0.5 0.5 1.0
"""
CIFS = {
    "Cl1Na1-MP-mp-1.cif": salt(0).to(fmt="cif"),
    "Cl1K0.1Na0.9-MP-mp-1-synth_doped.cif": DOPED,
    "unused-MP-mp-9.cif": salt(1).to(fmt="cif"),
}
ROOT = "3DSC-2471dd5/superconductors_3D/data/final/MP"


def three_dsc(rows, columns="formula_sc,tc,sc_class,weight,cif,cubic", cifs=CIFS, table="3DSC_MP.csv"):
    """The repository of 3DSC as GitHub packs it: a comment, a header, a path for each row."""
    lines = ["# {'git_hash': 'abc'}", columns, *rows]
    files = {f"{ROOT}/{table}": "\n".join(lines), "3DSC-2471dd5/README.md": "3DSC", "3DSC-2471dd5/link.cif": "x"}
    files |= {f"{ROOT}/cifs/{name}": text for name, text in cifs.items()}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()


ROWS = [
    "NaCl,12.5,Other,0.5,data/final/MP/cifs/Cl1Na1-MP-mp-1.cif,1",
    "Na0.9K0.1Cl,0,Other,1,data/final/MP/cifs/Cl1K0.1Na0.9-MP-mp-1-synth_doped.cif,1",
    "Nb3Sn,18,Other,1,data/final/MP/cifs/Nb3Sn1-MP-mp-2.cif,1",
]


def test_3dsc_is_read_from_its_repository(placed):
    card = placed(three_dsc(ROWS), "3DSC.tar.gz", format="3dsc", target="tc", id_column="id")
    for _ in range(2):
        table = load_table(card)
        assert table.crystals.ids.tolist() == ["Cl1Na1-MP-mp-1"]
        assert table.columns.to_dict("records") == [
            {"formula_sc": "NaCl", "tc": 12.5, "sc_class": "Other", "weight": 0.5, "synth_doped": False}
        ]
        reasons = dict(zip(table.left_out["id"], table.left_out["reason"], strict=True))
        assert "is disordered" in reasons["Cl1K0.1Na0.9-MP-mp-1-synth_doped"]
        assert "the structure is missing" in reasons["Nb3Sn1-MP-mp-2"]
        assert table.left_out["tc"].tolist() == [0, 18]
        assert table.left_out["synth_doped"].tolist() == [True, False]
    assert [path.name for path in card.folder.glob("[!.]*")] == ["3DSC.tar.gz"]


def test_the_table_of_3dsc_is_made_once_and_anew_by_another_version_of_the_code(tmp_path, monkeypatch, cache_folder):
    archive = tmp_path / "3DSC.tar.gz"
    archive.write_bytes(three_dsc(ROWS))
    table = sources.unpack_3dsc(archive)
    assert sources.unpack_3dsc(archive) == table
    assert [path.name for path in (cache_folder / "unpacked").glob("[!.]*")] == [table.parent.name]
    assert pd.read_parquet(table)["cif"].notna().tolist() == [True, True, False]
    monkeypatch.setattr(sources, "code_digest", lambda modules, distributions: "edited")
    assert sources.unpack_3dsc(archive) != table


def test_a_repository_without_the_table_or_its_columns_is_said(placed):
    card = placed(three_dsc(ROWS, table="other.csv"), "3DSC.tar.gz", format="3dsc", target="tc")
    with pytest.raises(InputError, match=r"holds no file 3DSC_MP\.csv; the repository of 3DSC"):
        load_table(card)
    card = placed(three_dsc(ROWS, columns="formula,tc,sc_class,weight,cif,x"), "b.tar.gz", format="3dsc", target="tc")
    with pytest.raises(InputError, match=r"3DSC_MP\.csv of 3DSC has no column 'formula_sc'"):
        load_table(card)


def test_the_card_of_3dsc_goes_with_its_reader(cache_folder):
    card = load_card("3dsc_mp")
    card.folder.mkdir(parents=True)
    (card.folder / card.urls[0].file_name).write_bytes(three_dsc(ROWS))
    with pytest.warns(MatcardWarning, match="no checksum"):
        table = load_table(card)
    assert table.columns[card.target].tolist() == [12.5]
