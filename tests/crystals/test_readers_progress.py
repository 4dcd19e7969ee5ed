"""How far reading is, of how many rows, for every format; the numbers of the rows."""

from __future__ import annotations

import gzip
import json

import ase.db
import ase.io
import pytest
from format_cases import atoms_of, cifs_of, frame_of, three_structures
from reading import iter_crystals, read_crystals

from matcard import table_files as tables
from matcard.crystals import batches, read

N = 12


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    for module in (batches, tables):
        monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setattr(read, "_TASK", 2)


@pytest.fixture(scope="module")
def structures():
    return three_structures()


def many(structures):
    return [structures[k % 3] for k in range(N)]


def records(structures):
    return [{"id": f"r{k}", "structure": structure.as_dict()} for k, structure in enumerate(many(structures))]


def parquet(place, structures):
    frame = frame_of(cif=cifs_of(structures)).iloc[[k % 3 for k in range(N)]].assign(material_id=range(N))
    frame.to_parquet(place / "t.parquet")
    return place / "t.parquet"


def csv(place, structures):
    frame = frame_of(cif=cifs_of(structures)).iloc[[k % 3 for k in range(N)]].assign(material_id=range(N))
    frame.to_csv(place / "t.csv")
    return place / "t.csv"


def json_lines(place, structures):
    (place / "t.jsonl").write_text("\n".join(map(json.dumps, records(structures))))
    return place / "t.jsonl"


def json_lines_gz(place, structures):
    (place / "t.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, records(structures))).encode()))
    return place / "t.jsonl.gz"


def json_records(place, structures):
    (place / "t.json").write_text(json.dumps(records(structures)))
    return place / "t.json"


def matminer_json(place, structures):
    rows = [[structure.as_dict()] for structure in many(structures)]
    (place / "t.json").write_text(json.dumps({"data": rows, "index": list(range(N)), "columns": ["structure"]}))
    return place / "t.json"


def extended_xyz(place, structures):
    ase.io.write(place / "t.extxyz", [frame for _ in range(N // 3) for frame in atoms_of(structures)])
    return place / "t.extxyz"


def database(place, structures):
    with ase.db.connect(place / "t.db") as rows:
        for frame in atoms_of(structures) * (N // 3):
            rows.write(frame)
    return place / "t.db"


def labelled_folder(place, structures):
    for k, structure in enumerate(many(structures)):
        structure.to(filename=str(place / f"r{k}.cif"), fmt="cif")
    (place / "id_prop.csv").write_text("".join(f"r{k},{k}\n" for k in range(N)))
    return place


def pattern(place, structures):
    labelled_folder(place, structures)
    return f"{place}/*.cif"


EXACT = [parquet, csv, database, labelled_folder, pattern, extended_xyz]
ESTIMATED = [json_lines, json_lines_gz, json_records, matminer_json]


@pytest.mark.parametrize("write", [*EXACT, *ESTIMATED])
@pytest.mark.filterwarnings("ignore::matcard.errors.MatcardWarning")
def test_rows_are_counted_and_their_number_is_known(write, tmp_path, structures):
    source = write(tmp_path, structures)
    calls = []
    table = read_crystals(source, progress=lambda *call: calls.append(call))
    assert len(table) + len(table.left_out) == N
    done = [call[0] for call in calls]
    assert done[0] == 0
    assert done[-1] == N
    assert done == sorted(done)
    assert len(set(done)) > N // 3
    if write in EXACT:
        assert {call[1] for call in calls} == {N}
    else:
        assert all(total >= so_far for so_far, total in calls)
        assert calls[-1] == (N, N)


def test_numbers_of_rows_count_those_left_out(tmp_path, structures):
    lines = [json.dumps(record) for record in records(structures)]
    lines[1], lines[5] = "", json.dumps({"id": "bad", "structure": None})
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    table = read_crystals(tmp_path / "t.jsonl")
    assert table.crystals.where.tolist() == [f"t.jsonl line {k}" for k in (1, 3, 4, 5, 7, 8, 9, 10, 11, 12)]
    assert table.left_out["where"].tolist() == ["t.jsonl line 6"]
    assert len(next(iter_crystals(tmp_path / "t.jsonl"))) == 2
