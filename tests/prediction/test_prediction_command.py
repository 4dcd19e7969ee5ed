"""`python -m matcard.predict`: every kind of input, in order, none lost; one file or none."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys

import ase.db
import ase.io
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from prediction_cases import as_row, crystals, structure

from matcard.cli import run_command
from matcard.data import crystals as crystal_kind
from matcard.errors import InputError
from matcard.predict import main, split_paths
from matcard.prediction.predictor import columns, divided


def predict(run, *inputs, out, more=()):
    main([str(run), *map(str, inputs), "-o", str(out), "--jobs=1", "--device=cpu", *more])
    return {".parquet": pd.read_parquet, ".csv": pd.read_csv}[out.suffix](out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten CIF files, of which c3 is broken and c7 is empty, and a POSCAR."""
    path = tmp_path_factory.mktemp("cifs")
    for atoms in crystals()[:10]:
        structure(atoms).to(str(path / f"{atoms.info['id']}.cif"))
    (path / "c3.cif").write_text((path / "c3.cif").read_text().replace("_cell_length_a", "_cell_length_x"))
    (path / "c7.cif").write_text("")
    ase.io.write(path / "POSCAR_last", crystals()[11], format="vasp")
    return path


@pytest.fixture(scope="module")
def expected(trained):
    """What the run gives for all crystals as objects."""
    from matcard import load_run

    frames = crystals()
    return load_run(trained, device="cpu").predict(frames, ids=[atoms.info["id"] for atoms in frames]).set_index("id")


def test_what_training_alone_needs_is_not_loaded():
    code = (
        "import sys, matcard.prediction.stream, matcard.prediction.predictor;"
        "heavy = {'torch_geometric', 'torch._dynamo', 'lightning', 'matplotlib', 'sklearn', 'joblib', 'ase.io'};"
        "heavy |= {'scipy.stats', 'scipy.optimize', 'numba'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def agree(table, expected):
    good = table[table["error"].isna()]
    assert len(good)
    np.testing.assert_allclose(good["prob_rocksalt"], expected.loc[good["id"], "prob_rocksalt"], atol=1e-4)


def test_a_folder_in_order_with_errors_in_place(trained, folder, expected, tmp_path, capsys):
    table = predict(trained, folder, out=tmp_path / "out.parquet")
    assert table["id"].tolist() == ["last", *(f"c{k}" for k in range(10))]
    assert table["error"].notna().tolist() == [False, *(k in (3, 7) for k in range(10))]
    assert list(table) == list(columns(["cesiumchloride", "rocksalt", "zincblende"]))
    agree(table[table["id"] != "last"], expected)
    said = capsys.readouterr().out
    assert "11 inputs" in said
    assert "crystals/s" in said
    assert "2 could not be used" in said


def test_patterns_and_single_files_keep_the_order_they_are_given_in(trained, folder, tmp_path):
    table = predict(trained, folder / "c5.cif", f"{folder}/c[01].cif", folder / "c4.cif", out=tmp_path / "out.csv")
    assert table["id"].tolist() == ["c5", "c0", "c1", "c4"]
    assert table["source"].tolist() == [str(folder / f"c{k}.cif") for k in (5, 0, 1, 4)]


def test_options_may_stand_between_runs_and_inputs(trained, second, folder, tmp_path):
    out = tmp_path / "out.csv"
    some = [str(folder / f"c{k}.cif") for k in (5, 1)]
    main([str(trained), "--jobs=1", str(second), "-o", str(out), some[0], "--device", "cpu", some[1]])
    table = pd.read_csv(out)
    assert table["source"].tolist() == some
    assert "std_rocksalt" in table  # both runs


def test_tables_frames_and_databases(trained, source, expected, tmp_path):
    rows = [as_row(atoms) for atoms in crystals()[:6]]
    rows[2]["structure"] = {"lattice": None}
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with ase.db.connect(tmp_path / "some.db") as base:
        for atoms in crystals()[:3]:
            base.write(atoms, material_id=atoms.info["id"])
    table = predict(trained, source, tmp_path / "rows.jsonl", tmp_path / "some.db", out=tmp_path / "out.parquet")
    assert table["id"].tolist() == [f"c{k}" for k in (*range(60), *range(6), *range(3))]
    assert table["error"].notna().sum() == 1
    assert table["source"][62] == "rows.jsonl line 3"
    agree(table, expected)


def test_ids_may_repeat(trained, source, tmp_path):
    table = predict(trained, source, source, out=tmp_path / "out.csv")
    assert len(table) == 120
    np.testing.assert_allclose(table["prob_rocksalt"][:60], table["prob_rocksalt"][60:])


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_outputs_hold_the_same(trained, folder, suffix, tmp_path):
    out = tmp_path / f"out{suffix}"
    main([str(trained), str(folder), "-o", str(out), "--jobs=1", "--device=cpu"])
    if suffix == ".jsonl":
        table = pd.DataFrame([json.loads(line) for line in out.read_text().splitlines()])
    else:
        table = {".parquet": pd.read_parquet, ".csv": pd.read_csv}[suffix](out)
    main([str(trained), str(folder), "-o", str(tmp_path / "plain.parquet"), "--jobs=1", "--device=cpu"])
    plain = pd.read_parquet(tmp_path / "plain.parquet")
    assert list(table) == list(plain)
    assert table["predicted"].fillna("-").tolist() == plain["predicted"].fillna("-").tolist()
    np.testing.assert_allclose(table["prob_rocksalt"].astype(float), plain["prob_rocksalt"], rtol=1e-8)
    told = [None if pd.isna(x) else bool(x) for x in table["applicable"]]
    assert told == [None if pd.isna(x) else bool(x) for x in plain["applicable"]]


def feed(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_standard_input_of_cif_text(trained, folder, expected, monkeypatch, tmp_path):
    feed(monkeypatch, "# made by hand\n\n" + "".join((folder / f"c{k}.cif").read_text() for k in (0, 3, 1)))
    table = predict(trained, "-", out=tmp_path / "out.csv")
    assert table["id"].tolist() == ["LiF", "LiI", "LiCl"]
    assert table["source"].tolist() == [f"standard input block {k}" for k in (1, 2, 3)]
    assert table["error"].notna().tolist() == [False, True, False]
    np.testing.assert_allclose(table["prob_rocksalt"][[0, 2]], expected.loc[["c0", "c1"], "prob_rocksalt"], atol=1e-4)


def test_standard_input_with_byte_order_marks(trained, folder, expected, monkeypatch, tmp_path):
    texts = [(folder / f"c{k}.cif").read_text() for k in (0, 1)]
    feed(monkeypatch, "".join(f"\ufeff{text}" for text in texts))
    table = predict(trained, "-", out=tmp_path / "out.csv")
    assert table["id"].tolist() == ["LiF", "LiCl"]
    np.testing.assert_allclose(table["prob_rocksalt"], expected.loc[["c0", "c1"], "prob_rocksalt"], atol=1e-4)


def test_standard_input_of_json_lines(trained, expected, monkeypatch, tmp_path):
    rows = [as_row(atoms) for atoms in crystals()[:3]]
    lines = [json.dumps(rows[0]), "{broken", json.dumps(rows[1]), "", "[1]", json.dumps(rows[2])]
    feed(monkeypatch, "\n".join(lines))
    table = predict(trained, "-", out=tmp_path / "out.csv")
    assert table["source"].tolist() == [f"standard input line {k}" for k in (1, 2, 3, 5, 6)]
    assert table["error"].notna().tolist() == [False, True, False, True, False]
    assert "not JSON" in table["error"][1]
    agree(table, expected)


def test_standard_input_of_bare_pymatgen_dicts(trained, expected, monkeypatch, tmp_path):
    feed(monkeypatch, "\n".join(json.dumps(structure(atoms).as_dict()) for atoms in crystals()[:2]))
    table = predict(trained, "-", out=tmp_path / "out.csv")
    np.testing.assert_allclose(table["prob_rocksalt"], expected["prob_rocksalt"][:2], atol=1e-4)


def test_standard_input_of_paths(trained, folder, expected, monkeypatch, tmp_path):
    feed(monkeypatch, f"{folder / 'c1.cif'}\n{folder / 'nowhere.cif'}\n\n{folder / 'c0.cif'}\n")
    table = predict(trained, "-", out=tmp_path / "out.csv")
    assert table["id"].tolist() == ["c1", "nowhere", "c0"]
    assert "no such file" in table["error"][1]
    agree(table, expected)


def test_empty_standard_input(trained, monkeypatch, tmp_path):
    feed(monkeypatch, "\n")
    with pytest.raises(InputError, match="standard input is empty"):
        predict(trained, "-", out=tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


def test_a_table_that_breaks_off_is_told_and_the_rest_is_read(trained, source, folder, tmp_path, capsys):
    lines = [json.dumps(as_row(atoms)) for atoms in crystals()[:4]]
    (tmp_path / "cut.jsonl").write_text("\n".join([*lines, lines[0][:50]]))
    table = predict(trained, tmp_path / "cut.jsonl", folder / "c0.cif", out=tmp_path / "out.csv")
    assert table["id"].iloc[-1] == "c0"
    assert table["error"].notna().sum() == 1
    assert "is not JSON" in table["error"].dropna().iloc[0]
    assert "not read to its end" in capsys.readouterr().out


def test_pieces_are_predicted_as_they_are_read(trained, source, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(crystal_kind, "CHUNK", 7)
    out = tmp_path / "out.parquet"
    table = predict(trained, source, out=out)
    groups = pq.ParquetFile(out)
    sizes = [groups.metadata.row_group(k).num_rows for k in range(groups.num_row_groups)]
    assert sizes == [7] * 8 + [4]
    agree(table, expected)


def test_several_runs_give_mean_and_deviation(trained, second, source, tmp_path):
    first, other, both = (
        predict(runs[0], *runs[1:], source, out=tmp_path / f"{k}.parquet")
        for k, runs in enumerate([(trained,), (second,), (trained, second)])
    )
    pair = np.stack([first["prob_rocksalt"], other["prob_rocksalt"]])
    np.testing.assert_allclose(both["prob_rocksalt"], pair.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(both["std_rocksalt"], pair.std(axis=0, ddof=1), atol=1e-6)
    np.testing.assert_allclose(both["novelty"], np.maximum(first["novelty"], other["novelty"]), atol=1e-4)
    assert (both["applicable"] == (first["applicable"] & other["applicable"])).all()
    assert list(both) == list(columns(["cesiumchloride", "rocksalt", "zincblende"], ensemble=True))


def test_runs_of_other_classes_are_no_ensemble(trained, tmp_path, source):
    other = tmp_path / "other"
    shutil.copytree(trained / "model", other)
    text = (other / "model.json").read_text().replace("zincblende", "wurtzite")
    (other / "model.json").write_text(text)
    with pytest.raises(InputError, match="has the classes cesiumchloride, rocksalt, wurtzite"):
        predict(trained, other, source, out=tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["RUN", "SOURCE", "-o", "out.txt"], r"ending says what to write, one of \.parquet"),
        (["RUN", "-o", "out.csv"], "no inputs"),
        (["SOURCE", "-o", "out.csv"], "is not the directory of a run"),
        (["RUN", "nowhere.cif", "-o", "out.csv"], "nowhere.cif: no such file or folder"),
        (["RUN", "no*.cif", "-o", "out.csv"], "no file fits"),
        (["RUN", "SOURCE", "-o", "SOURCE"], "ending says|one of the inputs"),
        (["RUN", "SOURCE", "-o", "out.csv", "--device", "cuda:9"], "--device cuda:9"),
        (["RUN", "SOURCE"], "required: -o"),
        (["RUN", "SOURCE", "-o", "out.csv", "--batch-size", "0"], "expected 1 or more"),
    ],
)
def test_bad_usage_is_told_with_exit_code_2(trained, source, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    named = {"RUN": str(trained), "SOURCE": str(source)}
    with pytest.raises(SystemExit) as stopped:
        run_command(main, [named.get(word, word) for word in words])
    assert stopped.value.code == 2
    assert re.search(said, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_an_input_is_not_overwritten(trained, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(as_row(crystals()[0])))
    with pytest.raises(InputError, match="is one of the inputs"):
        predict(trained, path, out=path)
    assert json.loads(path.read_text())["id"] == "c0"


def test_a_prediction_that_fails_leaves_the_old_file(trained, source, monkeypatch, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("old")

    def fail(*_args, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr("matcard.prediction.predictor.Predictor.table", fail)
    with pytest.raises(KeyboardInterrupt):
        predict(trained, source, out=out)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_runs_and_inputs_are_told_apart(trained, tmp_path):
    runs, inputs = split_paths([str(trained), "a.cif", str(trained / "model"), str(tmp_path)])
    assert runs == [trained, trained / "model"]
    assert inputs == ["a.cif", str(tmp_path)]


@pytest.mark.parametrize("bad", [set(), {0}, {3, 4}, {9}, set(range(10))])
def test_work_is_divided_down_to_what_is_at_fault(bad):
    def work(positions):
        if found := bad & set(positions.tolist()):
            raise InputError(f"cannot do {min(found)}")
        return positions.sum()

    found = list(divided(np.arange(10), work))
    assert np.concatenate([positions for positions, _ in found]).tolist() == list(range(10))
    assert {int(p[0]): r for p, r in found if isinstance(r, str)} == {k: f"cannot do {k}" for k in bad}
    assert sum(r for _, r in found if not isinstance(r, str)) == sum(set(range(10)) - bad)
