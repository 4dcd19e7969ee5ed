"""Sources parsed once: found by content, the same as when read, safe from damage, kills and other processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from graph_cases import random_crystals

from matcard.crystals import GraphOptions, open_crystals, open_store, parsed
from matcard.crystals.readers import folder as folder_module
from matcard.crystals.readers import tables
from matcard.crystals.readers.read import read_crystals
from matcard.errors import InputError, MatcardWarning

CUBE = [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]
CIF = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""
DOUBTFUL = CIF.replace("data_x", "data_x\n_chemical_formula_sum 'Na Cl H2'")


def write_rows(path, number=11):
    """Write rows of which some are bad, with columns of several kinds that change from piece to piece."""
    rows = []
    for k in range(number):
        row = {"id": f"é-{k}", "lattice": CUBE, "species": ["Na"], "frac_coords": [[0.1, 0.2, 0.3]]}
        rows.append({**row, "gap": None if k < 2 else k, "kind": "a" if k < 6 else k, "reason": f"why {k}"})
    rows[3]["species"] = ["Qq"]
    rows[8]["id"] = "é-0"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(tables, "CHUNK", 2)
    monkeypatch.setattr(folder_module, "CHUNK", 2)


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "t.jsonl")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


class Calls(list):
    def __call__(self, done, total):
        self.append((done, total))


def same_tables(a, b):
    assert a.crystals.ids.tolist() == b.crystals.ids.tolist()
    for name in ("lattice", "offsets", "numbers", "frac_coords"):
        np.testing.assert_array_equal(getattr(a.crystals, name), getattr(b.crystals, name), strict=True)
    np.testing.assert_array_equal(a.rows, b.rows, strict=True)
    pd.testing.assert_frame_equal(a.columns, b.columns)
    pd.testing.assert_frame_equal(a.left_out, b.left_out)


def test_what_is_kept_is_what_is_read(rows, cache):
    read = read_crystals(rows)
    assert read.rows.tolist() == [1, 2, 3, 5, 6, 7, 8, 10, 11]
    assert read.left_out["where"].tolist() == ["t.jsonl line 4", "t.jsonl line 9"]
    assert "duplicated id 'é-0', first in t.jsonl line 1" in read.left_out["reason"][1]
    first, second = Calls(), Calls()
    for calls in (first, second):
        same_tables(open_crystals(rows, cache, progress=calls), read)
    assert first[0][0] == 0
    assert first[-1] == (11, 11)
    assert second == []


def test_structures_are_mapped_and_read_only(rows, cache):
    crystals = open_crystals(rows, cache).crystals
    for name in ("lattice", "offsets", "numbers", "frac_coords"):
        assert isinstance(getattr(crystals, name).base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        crystals.lattice[0, 0, 0] = 5
    assert crystals.take(range(len(crystals))) is crystals
    assert crystals.structure(0).composition.reduced_formula == "Na"


def test_graphs_of_mapped_crystals_are_those_of_read_ones(rows, cache):
    mapped = open_store(open_crystals(rows, cache).crystals, GraphOptions(), cache)
    read = open_store(read_crystals(rows).crystals, GraphOptions(), cache)
    assert mapped.folder == read.folder


def test_a_copy_is_found_by_its_content(rows, cache, tmp_path):
    open_crystals(rows, cache)
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(rows, tmp_path / "elsewhere" / "t.jsonl")
    calls = Calls()
    open_crystals(copy, cache, target="gap", progress=calls)
    open_crystals(copy, cache, labels_needed=False, progress=calls)
    assert calls == []


def test_what_changes_the_result_is_parsed_anew(rows, cache, tmp_path, monkeypatch):
    def parsed_anew(source, **options):
        calls = Calls()
        open_crystals(source, cache, progress=calls, **options)
        return bool(calls)

    assert parsed_anew(rows)
    assert parsed_anew(rows, id_column="reason")
    assert parsed_anew(shutil.copy(rows, tmp_path / "other.jsonl"))  # left_out names the file
    assert parsed_anew(write_rows(rows, number=12))
    assert not parsed_anew(rows)
    monkeypatch.setattr(parsed, "_code", lambda: "edited")
    assert parsed_anew(rows)


def test_the_code_that_reads_is_part_of_the_key(tmp_path, monkeypatch):
    (tmp_path / "readers").mkdir()
    for name in ("validate.py", "parsed.py", "frame_files.py", "table.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(parsed, "files", lambda package: tmp_path)
    found = set()
    for name, text in [("parsed.py", ""), ("table.py", "x"), ("readers/new.py", "y"), ("readers/notes.txt", "z")]:
        (tmp_path / name).write_text(text)
        found.add(parsed._code())
    assert len(found) == 3


def test_a_target_that_is_not_there_is_told_whether_parsed_or_not(rows, cache):
    for _ in range(2):
        with pytest.raises(InputError, match=r"no column 'gapp' \(--data\.target\): did you mean gap"):
            open_crystals(rows, cache, target="gapp")


# ---- folders


@pytest.fixture
def cifs(tmp_path):
    place = tmp_path / "cifs"
    place.mkdir()
    for name, text in {"a": CIF, "b": DOUBTFUL, "c": "garbage", "d": CIF, "e": DOUBTFUL}.items():
        (place / f"{name}.cif").write_text(text)
    (place / "id_prop.csv").write_text("id,gap,kind\na,1,x\nb,2,y\nc,3,z\nd,4,\n")
    return place


def test_warnings_are_told_at_every_opening(cifs, cache):
    for _ in range(2):
        with pytest.warns(MatcardWarning) as told:
            table = open_crystals(cifs, cache, target="gap")
        assert table.crystals.ids.tolist() == ["a", "b", "d"]
        assert table.rows.tolist() == [1, 2, 4]
        assert table.left_out["where"].tolist() == ["id_prop.csv row 3 (c.cif)"]
        said = [str(warning.message) for warning in told]
        assert len(said) == 2
        assert "1 structure files" in said[0]
        assert "1 doubts about structures" in said[1]
        assert "row 2 (b.cif): Missing elements H" in said[1]


@pytest.mark.filterwarnings("ignore::matcard.errors.MatcardWarning")
def test_of_a_folder_files_and_labels_count_and_the_target_does_not(cifs, cache):
    def parsed_anew(**options):
        calls = Calls()
        open_crystals(cifs, cache, progress=calls, **options)
        return bool(calls)

    assert parsed_anew(target="gap")
    assert not parsed_anew(target="kind")
    (cifs / "a.cif").write_text(CIF.replace("_cell_length_a 4", "_cell_length_a 5"))
    assert parsed_anew()
    (cifs / "id_prop.csv").write_text("a,1\nb,2\n")
    assert parsed_anew(target="gap")
    assert parsed_anew(target="size")  # the name that a label without a header gets
    (cifs / "id_prop.csv").unlink()
    assert parsed_anew(labels_needed=False)
    with pytest.raises(InputError, match=r"has 5 structure files but no id_prop\.csv"):
        open_crystals(cifs, cache)


@pytest.mark.filterwarnings("ignore::matcard.errors.MatcardWarning")
def test_patterns_and_single_files(cifs, cache):
    for _ in range(2):
        table = open_crystals(f"{cifs}/[ac].cif", cache, labels_needed=False)
        assert table.crystals.ids.tolist() == ["a"]
        assert table.left_out["where"].tolist() == [str(cifs / "c.cif")]
        assert len(open_crystals(cifs / "b.cif", cache)) == 1
    with pytest.raises(InputError, match="holds no structure files"):
        open_crystals(f"{cifs}/*.vasp", cache)
    with pytest.raises(InputError, match="does not exist"):
        open_crystals(cifs / "f.cif", cache)


# ---- damage, kills, other processes


def remove(place):
    (place / "columns-000001.parquet").unlink()


def cut_off(place):
    file = place / "frac_coords.npy"
    os.truncate(file, file.stat().st_size - 8)


def alter(place):
    file = place / "left_out-000001.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [remove, cut_off, alter])
def test_damage_is_said_and_mended(rows, cache, damage):
    open_crystals(rows, cache)
    (place,) = (path for path in cache.iterdir() if (path / "header.json").exists())
    damage(place)
    with pytest.warns(MatcardWarning, match=r"the parsed crystals of .*t\.jsonl are built again"):
        mended = open_crystals(rows, cache)
    same_tables(mended, read_crystals(rows))


def test_a_cache_that_cannot_be_written(rows, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be used .*MATCARD_CACHE"):
        open_crystals(rows, tmp_path / "file")


def test_a_source_that_changes_meanwhile_is_refused(rows, cache):
    def change(done, total):
        if done == 11:
            write_rows(rows, number=12)

    with pytest.raises(InputError, match="was changed while it was read"):
        open_crystals(rows, cache, progress=change)
    assert len(open_crystals(rows, cache)) == 10


def parse_and_die(source, cache, after):
    tables.CHUNK = folder_module.CHUNK = 2

    def die(done, total):
        if done >= after:
            os.kill(os.getpid(), signal.SIGKILL)

    open_crystals(source, cache, progress=die)


def kill_parsing(source, cache, after):
    process = multiprocessing.get_context("spawn").Process(target=parse_and_die, args=(source, cache, after))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (partial,) = cache.glob("*.partial")
    return partial


def test_killed_parsing_goes_on_and_knows_the_ids_before(rows, cache):
    partial = kill_parsing(rows, cache, after=8)
    with (partial / "numbers.npy").open("ab") as file:
        file.write(b"a piece that was not finished")
    (partial / "columns-000003.parquet").write_text("half a piece")
    calls = Calls()
    with warnings.catch_warnings(action="error"):
        table = open_crystals(rows, cache, progress=calls)
    assert calls[0][0] == 6
    same_tables(table, read_crystals(rows))
    assert not list(cache.glob("*.partial"))


def test_killed_parsing_keeps_its_doubts(cifs, cache):
    (cifs / "id_prop.csv").write_text("b,1\na,2\nc,3\nd,4\ne,5\n")
    kill_parsing(cifs, cache, after=4)
    with pytest.warns(MatcardWarning, match=r"2 doubts .*row 1 \(b\.cif\).*row 5 \(e\.cif\)"):
        open_crystals(cifs, cache)


def parse_slowly(source, cache, barrier, log):
    tables.CHUNK = 2

    def note(done, total):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)

    barrier.wait(60)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert len(open_crystals(source, cache, progress=note)) == 9
    with log.open("a") as file:
        file.writelines(f"waited: {warning.message}\n" for warning in told)


def test_of_two_processes_one_parses_and_the_other_says_that_it_waits(rows, cache, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, log = context.Barrier(2), tmp_path / "log"
    both = [context.Process(target=parse_slowly, args=(rows, cache, barrier, log)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    lines = log.read_text().splitlines()
    (waited,) = (line for line in lines if line.startswith("waited"))
    assert f"waiting for another process that builds the parsed crystals of {rows}" in waited
    assert len({line for line in lines if not line.startswith("waited")}) == 1


# ---- what it costs


def test_memory_does_not_grow_with_the_number_of_crystals(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK", 50)

    def peak(number):
        crystals = random_crystals(1, most=1)
        frame = pd.DataFrame({"id": [f"crystal {k}" for k in range(number)]})
        frame["lattice"] = [crystals.lattice[0].ravel().tolist()] * number
        frame["species"], frame["frac_coords"] = [["Na"] * 2] * number, [[0.0, 0, 0, 0.5, 0.5, 0.5]] * number
        path = tmp_path / f"{number}.parquet"
        frame.to_parquet(path)
        del frame
        tracemalloc.start()
        for _ in parsed.checked(parsed.open_source(path, parsed.Wanted()), "t", None):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)
    few, many = peak(100), peak(1500)
    bytes_of_structures = 1400 * 8 * (9 + 6)
    assert many - few < bytes_of_structures / 2
