"""Sources parsed once: found by content, the same as when read, safe from damage."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from matcard.crystals import read
from matcard.crystals.read import read_crystals
from matcard.errors import InputError, MatcardWarning

CUBE = [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]
POSCAR = "salt\n1.0\n4 0 0\n0 4 0\n0 0 4\nCs Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
ARRAYS = ("lattice", "offsets", "numbers", "frac_coords")


def write_rows(path, number=11):
    """Write rows of which some are bad, with columns of several kinds that change from row to row."""
    rows = []
    for k in range(number):
        row = {"id": f"\u00e9-{k}", "lattice": CUBE, "species": ["Na"], "frac_coords": [[0.1, 0.2, 0.3]]}
        rows.append({**row, "gap": None if k < 2 else k, "kind": "a" if k < 6 else k, "reason": f"why {k}"})
    rows[3]["species"] = ["Qq"]
    rows[8]["id"] = "\u00e9-0"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "t.jsonl")


class Calls(list):
    def __call__(self, done, total):
        self.append((done, total))


def parsed_anew(source, **options):
    calls = Calls()
    read_crystals(source, progress=calls, **options)
    return bool(calls)


def same_crystals(one, other):
    for name in (*ARRAYS, "ids", "where", "faults", "doubts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    pd.testing.assert_frame_equal(one.columns, other.columns)


def test_what_is_kept_is_what_is_read(rows, monkeypatch):
    with monkeypatch.context() as patch:
        found = read._reader
        patch.setattr(read, "_reader", lambda *wanted: found(*wanted)._replace(files=[]))
        fresh = read_crystals(rows)
    first, second = Calls(), Calls()
    for calls in (first, second):
        same_crystals(read_crystals(rows, progress=calls), fresh)
    assert first[0][0] == 0
    assert first[-1] == (11, 11)
    assert second == []
    assert fresh.sound.tolist() == [True] * 3 + [False] + [True] * 4 + [False] + [True] * 2
    assert "duplicated id '\u00e9-0', first in t.jsonl line 1" in fresh.faults[8]


def test_structures_are_mapped_and_read_only(rows):
    crystals = read_crystals(rows, repeats=True)
    for name in ARRAYS:
        assert isinstance(getattr(crystals, name).base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        crystals.lattice[0, 0, 0] = 5
    assert crystals.take(range(len(crystals))) is crystals


def test_a_copy_is_found_by_its_content_and_another_content_is_not(rows, tmp_path, monkeypatch):
    assert parsed_anew(rows)
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(rows, tmp_path / "elsewhere" / "t.jsonl")
    assert not parsed_anew(copy)
    assert parsed_anew(rows, id_column="reason")
    assert parsed_anew(shutil.copy(rows, tmp_path / "other.jsonl"))  # what is said of rows names the file
    assert parsed_anew(write_rows(rows, number=12))
    assert not parsed_anew(rows)
    monkeypatch.setattr(read, "code_digest", lambda *_: "edited")
    assert parsed_anew(rows)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "files"
    place.mkdir()
    for name in "abc":
        (place / f"{name}.vasp").write_text(POSCAR)
    (place / "id_prop.csv").write_text("id,gap\na,1\nb,2\n")
    return place


@pytest.mark.filterwarnings("ignore::matcard.errors.MatcardWarning")
def test_of_a_folder_labels_and_named_files_count_and_others_do_not(folder):
    assert parsed_anew(folder)
    (folder / "log.txt").write_text("a line\n")
    (folder / "c.vasp").unlink()
    assert not parsed_anew(folder)
    (folder / "a.vasp").write_text(POSCAR.replace("4 0 0", "5 0 0"))
    assert parsed_anew(folder)
    (folder / "id_prop.csv").write_text("id,gap\na,1\n")
    assert parsed_anew(folder)
    (folder / "id_prop.csv").unlink()
    assert parsed_anew(folder)
    assert not parsed_anew(f"{folder}/*.vasp")  # the same files, called the same
    assert parsed_anew(folder / "b.vasp")
    assert parsed_anew([folder / "b.vasp", folder / "a.vasp"])
    assert not parsed_anew([folder / "b.vasp", folder / "a.vasp"])


def test_what_is_told_is_told_at_every_opening(folder):
    for _ in range(2):
        with pytest.warns(MatcardWarning, match=r"1 structure files of .* are not named in id_prop\.csv.*: c\.vasp"):
            read_crystals(folder)


def remove(place):
    (place / "columns.parquet").unlink()


def cut_off(place):
    file = place / "frac_coords.npy"
    os.truncate(file, file.stat().st_size - 8)


def alter(place):
    file = place / "rows.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [remove, cut_off, alter])
def test_damage_is_said_and_mended(rows, cache_folder, damage):
    before = read_crystals(rows)
    (place,) = (path.parent for path in cache_folder.glob("crystals/*/header.json"))
    damage(place)
    with pytest.warns(MatcardWarning, match=r"the parsed crystals of .*t\.jsonl are built again"):
        mended = read_crystals(rows)
    same_crystals(mended, before)


def test_a_source_that_changes_meanwhile_is_refused(rows):
    def change(done, total):
        if done == 11:
            write_rows(rows, number=12)

    with pytest.raises(InputError, match="was changed while it was read"):
        read_crystals(rows, progress=change)
    assert len(read_crystals(rows)) == 12
