"""The same crystals in every format read back equal."""

from __future__ import annotations

import gzip
import io
import json
import warnings

import ase.db
import ase.io
import numpy as np
import pandas as pd
import pytest
from format_cases import (
    GAPS,
    IDS,
    KINDS,
    SPELT,
    abc_angles,
    atoms_of,
    check,
    check_spelling,
    cifs_of,
    coords_of,
    frame_of,
    species_of,
    three_structures,
)
from matminer.utils.io import store_dataframe_as_json
from pymatgen.core import Lattice, Structure
from reading import from_atoms, from_structures, iter_crystals, read_crystals

from matcard import table_files as tables
from matcard.table_files import LISTS


@pytest.fixture(scope="module")
def structures():
    return three_structures()


def _write_parquet(tmp_path, structures, nested):
    path = tmp_path / "t.parquet"
    coords = [s.frac_coords.tolist() for s in structures] if nested else coords_of(structures)
    lattice = (
        {"lattice": [s.lattice.matrix.tolist() for s in structures]}
        if nested
        else {"lattice_abc_angles": abc_angles(structures)}
    )
    frame_of(**lattice, species=species_of(structures), frac_coords=coords).to_parquet(path)
    return path


@pytest.mark.parametrize("nested", [False, True])
def test_parquet_flat_columns(tmp_path, structures, nested):
    table = read_crystals(_write_parquet(tmp_path, structures, nested), target="gap")
    check(table, structures)


def test_parquet_keeps_a_stored_index_as_ids(tmp_path, structures):
    path = tmp_path / "t.parquet"
    frame_of(cif=cifs_of(structures)).set_index("material_id").rename_axis(None).to_parquet(path)
    check(read_crystals(path), structures, sorted_sites=True)


def test_csv_with_cif(tmp_path, structures):
    path = tmp_path / "t.csv"
    frame_of(cif=cifs_of(structures)).to_csv(path, index=False)
    check(read_crystals(path), structures, sorted_sites=True)


@pytest.mark.parametrize("lattice", ["lattice", "lattice_abc_angles"])
def test_csv_gz_with_lists_as_json(tmp_path, structures, lattice):
    path = tmp_path / "t.csv.gz"
    cells = [s.lattice.matrix.tolist() for s in structures] if lattice == "lattice" else abc_angles(structures)
    frame_of(
        **{lattice: [json.dumps(c) for c in cells]},
        species=[json.dumps(s) for s in species_of(structures)],
        frac_coords=[json.dumps(c) for c in coords_of(structures)],
    ).to_csv(path, index=False)
    check(read_crystals(path), structures)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("as_text", [False, True])
def test_json_lines_with_dicts(tmp_path, structures, compress, as_text):
    lines = [
        json.dumps({"id": i, "structure": s.to_json() if as_text else s.as_dict(), "gap": g, "kind": k})
        for i, s, g, k in zip(IDS, structures, GAPS, KINDS, strict=True)
    ]
    text = "\n\n".join(lines).encode()
    path = tmp_path / ("t.jsonl.gz" if compress else "t.jsonl")
    path.write_bytes(gzip.compress(text) if compress else text)
    check(read_crystals(path), structures)


def test_json_lines_of_the_flat_columns(tmp_path, structures):
    path = tmp_path / "t.jsonl"
    path.write_text(
        "\n".join(
            json.dumps({"jid": i, "lattice": s.lattice.matrix.ravel().tolist(), "species": p, "frac_coords": c})
            for i, s, p, c in zip(IDS, structures, species_of(structures), coords_of(structures), strict=True)
        )
    )
    check(read_crystals(path), structures, columns=())


def _matminer(structures, index, order):
    content = {
        "columns": ["structure", "gap", "kind"],
        "index": index,
        "data": [[s.as_dict(), g, k] for s, g, k in zip(structures, GAPS, KINDS, strict=True)],
    }
    return gzip.compress(json.dumps({key: content[key] for key in order}).encode())


@pytest.mark.parametrize("order", [("index", "columns", "data"), ("data", "columns", "index")])
def test_matminer_json(tmp_path, structures, order, monkeypatch):
    monkeypatch.setattr("matcard.table_files.CHUNK", 2)
    path = tmp_path / "matbench_gap.json.gz"
    path.write_bytes(_matminer(structures, IDS, order))
    check(read_crystals(path, target="gap"), structures)


def test_matminer_json_counts_its_rows_from_its_index(tmp_path, structures):
    path = tmp_path / "t.json"
    path.write_bytes(gzip.decompress(_matminer(structures, [0, 1, 2], ("columns", "index", "data"))))
    check(read_crystals(path), structures, ids=["0", "1", "2"])


def test_json_list_of_records(tmp_path, structures):
    path = tmp_path / "t.json"
    rows = zip(IDS, structures, GAPS, KINDS, strict=True)
    path.write_text(json.dumps([{"id": i, "structure": s.as_dict(), "gap": g, "kind": k} for i, s, g, k in rows]))
    check(read_crystals(path), structures)


def test_matminer_json_is_streamed(tmp_path, structures, monkeypatch):
    """The first rows come out when little of the file is read."""
    handed = []

    class Counting(io.BytesIO):
        def read(self, size=-1):
            handed.append(super().read(size))
            return handed[-1]

    rows = [[s.as_dict(), g, k] for s, g, k in zip(structures, GAPS, KINDS, strict=True)] * 100
    monkeypatch.setattr("matcard.table_files.JsonStream._BLOCK", 4096)
    content = {"columns": ["structure", "gap", "kind"], "index": [f"m{k}" for k in range(300)], "data": rows}
    path = tmp_path / "t.json"
    path.write_text(json.dumps(content))
    monkeypatch.setattr(tables, "CHUNK", 5)
    monkeypatch.setattr(tables, "open_bytes", lambda path: Counting(path.read_bytes()))
    pieces = iter_crystals(path)
    assert next(pieces).crystals.ids.tolist() == ["m0", "m1", "m2", "m3", "m4"]
    assert sum(map(len, handed)) < path.stat().st_size / 2
    assert sum(len(piece) for piece in pieces) == 295


def test_what_matminer_writes_with_missing_values_is_read(tmp_path):
    structures = [Structure(Lattice.cubic(4 + k), ["Na", "N"], [[0, 0, 0], [0.5, 0.5, 0.5]]) for k in range(3)]
    frame = pd.DataFrame(
        {"formula": ["NaN", "NaN3", "N"], "gap": [0.5, np.nan, 3.0], "modulus": np.nan, "structure": structures},
        index=["mp-1", "mp-2", "mp-3"],
    )
    path = tmp_path / "data.json.gz"
    store_dataframe_as_json(frame, str(path), compression="gz", pbar=False)
    table = read_crystals(path, target="gap")
    assert table.columns["formula"].tolist() == ["NaN", "NaN3", "N"]
    assert table.columns["gap"].isna().tolist() == [False, True, False]
    assert table.columns["modulus"].isna().all()
    assert table.crystals.ids.tolist() == ["mp-1", "mp-2", "mp-3"]


def test_structure_column_by_name(tmp_path, structures):
    path = tmp_path / "t.csv"
    frame_of(relaxed=cifs_of(structures)).rename(columns={"material_id": "name"}).to_csv(path, index=False)
    table = read_crystals(path, id_column="name", structure_column="relaxed")
    check(table, structures, sorted_sites=True)


def test_csv_fields_are_missing_only_where_empty(tmp_path, structures):
    """Words that pandas by itself takes for missing are ids and labels; marks among numbers are not."""
    path = tmp_path / "t.csv"
    ids = ["NA", "None", "null", "nan", "N/A"]
    frame = pd.DataFrame({"id": ids, **{name: written for name, (written, _) in SPELT.items()}})
    frame.assign(cif=cifs_of([structures[0]] * 5)).to_csv(path, index=False)
    table = read_crystals(path)
    assert table.crystals.ids.tolist() == ids
    check_spelling(table.columns)


@pytest.mark.parametrize("name", ["t.extxyz", "t.traj"])
def test_ase_frames(tmp_path, structures, name):
    path = tmp_path / name
    ase.io.write(path, atoms_of(structures))
    # Extended XYZ writes eight decimals and takes 007 for a number; both are the format's.
    ids = ["a-1", "a-2", "7" if name == "t.extxyz" else "007"]
    check(read_crystals(path), structures, ids=ids)


def test_ase_database(tmp_path, structures):
    path = tmp_path / "t.db"
    with ase.db.connect(path) as database:
        for name, frame in zip(IDS, atoms_of(structures), strict=True):
            database.write(
                frame,
                material_id=f"m{name}",
                gap=frame.info["gap"],
                data={"kind": frame.info["kind"], "dos": [1, 2]},
            )
    table = read_crystals(path, target="gap")
    assert set(table.columns) == {"id", "gap", "kind", "dos"}
    check(
        type(table)(table.crystals, table.columns[["gap", "kind"]], table.left_out),
        structures,
        ids=[f"m{name}" for name in IDS],
    )


def test_from_structures_and_from_atoms(structures):
    check(from_structures(structures, IDS), structures, columns=())
    check(from_structures(iter(structures)), structures, ids=["0", "1", "2"], columns=())
    told = from_atoms(atoms_of(structures), IDS)
    check(type(told)(told.crystals, told.columns[["gap", "kind"]], told.left_out), structures)
    told = from_atoms(atoms_of(structures))
    assert told.columns["material_id"].tolist() == IDS
    assert told.crystals.ids.tolist() == ["0", "1", "2"]


def test_objects_go_out_as_they_came_in(structures):
    crystals = from_structures(structures).crystals
    for i, structure in enumerate(structures):
        assert crystals.structure(i) == structure
        again = from_atoms([crystals.atoms(i)]).crystals
        np.testing.assert_allclose(again.frac_coords, structure.frac_coords, atol=1e-12)
        np.testing.assert_allclose(again.lattice[0], structure.lattice.matrix, atol=1e-12)


def test_pieces_join_to_the_whole(tmp_path, structures, monkeypatch):
    """Types of columns are settled over all pieces, ids compared across them."""
    path = tmp_path / "t.jsonl"
    rows = []
    for k in range(7):
        rows.append({"id": k % 6, "structure": structures[k % 3].as_dict(), "n": None if k < 2 else k})
    path.write_text("\n".join(map(json.dumps, rows)))
    whole = read_crystals(path)
    monkeypatch.setattr("matcard.table_files.CHUNK", 2)
    assert [len(piece) for piece in iter_crystals(path)] == [2, 2, 2, 1]
    joined = read_crystals(path)
    np.testing.assert_array_equal(joined.crystals.frac_coords, whole.crystals.frac_coords)
    np.testing.assert_array_equal(joined.crystals.offsets, whole.crystals.offsets)
    pd.testing.assert_frame_equal(joined.columns, whole.columns)
    pd.testing.assert_frame_equal(joined.left_out, whole.left_out)
    assert joined.columns["n"].dtype.kind == "f"
    assert joined.left_out["reason"].str.contains("duplicated id '0', first in t.jsonl line 1").all()


def test_pymatgen_dicts_decode_as_pymatgen_reads_them(structures):
    from matcard.crystals.decode import from_dict, from_structure

    decorated = structures[0].copy()
    decorated.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    by_parameters = structures[2].as_dict()
    del by_parameters["lattice"]["matrix"]
    for content in (structures[2].as_dict(), decorated.as_dict(), by_parameters):
        got, expected = from_dict(content), from_structure(Structure.from_dict(content))
        assert got.numbers.tolist() == expected.numbers.tolist()
        np.testing.assert_array_equal(got.frac_coords, expected.frac_coords)
        np.testing.assert_allclose(got.lattice, expected.lattice, atol=1e-12)


def test_of_nested_columns_it_is_kept_that_they_are_lists(tmp_path, structures):
    path = tmp_path / "t.parquet"
    frame_of(cif=cifs_of(structures), magmoms=[[1.0], None, [2.0, 3.0]]).to_parquet(path)
    assert read_crystals(path).columns["magmoms"].tolist() == [LISTS, None, LISTS]


def test_no_warning_of_a_parser_gets_out(tmp_path, structures):
    """Hexagonal positions of finite precision and a missing symmetry table make pymatgen warn."""
    hexagonal = Structure(Lattice.hexagonal(3.2, 5.2), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    text = hexagonal.to(fmt="cif").replace("0.33333333", "0.3333").replace("0.66666667", "0.6667")
    path = tmp_path / "mg.cif"
    path.write_text(text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = read_crystals(path)
    assert not caught
    np.testing.assert_allclose(sorted(table.crystals.frac_coords[:, 0]), [0.3333, 0.6667], atol=1e-12)


def test_real_parquet(test_data):
    table = read_crystals(test_data / "mp_icsd20.parquet", target="gap")
    source = pd.read_parquet(test_data / "mp_icsd20.parquet")
    assert len(table) == len(source)
    assert table.left_out.empty
    assert table.crystals.num_sites.tolist() == source["nsites"].tolist()
    assert table.crystals.ids.tolist() == source["material_id"].tolist()
    pd.testing.assert_series_equal(table.columns["gap"], source["gap"])
    rng = np.random.default_rng(0)
    for i in rng.choice(len(source), 50, replace=False):
        row = source.iloc[i]
        expected = Structure(
            Lattice.from_parameters(*row["lattice_abc_angles"].astype(float)),
            row["species"],
            row["frac_coords"].reshape(-1, 3),
        )
        got = table.crystals.structure(int(i))
        np.testing.assert_allclose(got.lattice.matrix, expected.lattice.matrix, atol=1e-12)
        assert got.atomic_numbers == expected.atomic_numbers
        np.testing.assert_array_equal(got.frac_coords, expected.frac_coords)
