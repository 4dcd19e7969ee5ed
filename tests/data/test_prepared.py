"""Prepared folders: what goes in comes out, and nothing is read that is damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from matcard.crystals.arrays import HEADER, write_header
from matcard.crystals.options import GraphOptions
from matcard.data.kinds import kind_of
from matcard.data.options import DataOptions, ImbalanceOptions, SplitOptions
from matcard.data.prepare import open_prepared, prepare, read_labelled, save_prepared
from matcard.data.prepared import is_prepared
from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from pathlib import Path

IMBALANCED = ImbalanceOptions(kind="exp", factor=10)


@pytest.fixture(scope="module")
def digits():
    options = DataOptions(source="digits", imbalance=IMBALANCED, augment="crop-flip")
    return prepare(read_labelled(options), options, seed=1)


@pytest.fixture
def folder(digits, tmp_path) -> Path:
    save_prepared(digits, tmp_path / "digits")
    return tmp_path / "digits"


def same(one, other):
    assert (one.class_names, one.kind, one.notes) == (other.class_names, other.kind, other.notes)
    assert one.ids.tolist() == other.ids.tolist()
    np.testing.assert_array_equal(one.codes, other.codes)
    for part in ("train", "val", "test", "cut"):
        np.testing.assert_array_equal(getattr(one.split, part), getattr(other.split, part))
    assert one.fingerprint == other.fingerprint


def test_what_goes_in_comes_out(digits, folder):
    opened = open_prepared(folder)
    same(opened, digits)
    np.testing.assert_array_equal(opened.inputs, digits.inputs)
    np.testing.assert_array_equal(opened.mean, digits.mean)
    np.testing.assert_array_equal(opened.std, digits.std)
    assert (opened.augment, opened.features) == ("crop-flip", ())
    indices = digits.split.train[:5].tolist()
    assert torch.equal(opened.dataset.__getitems__(indices).x, digits.dataset.__getitems__(indices).x)
    assert len(opened.split.cut) > 0


def test_rows_prepared_without_their_columns_are_refused(tmp_path):
    options = DataOptions(source="ten_clusters")
    save_prepared(prepare(read_labelled(options), options, seed=0), tmp_path / "rows")
    about = json.loads((tmp_path / "rows" / HEADER).read_text())["prepared"]
    del about["made_of"]
    write_header(tmp_path / "rows", {"prepared": about})
    with pytest.raises(InputError, match="was prepared by an earlier version"):
        open_prepared(tmp_path / "rows")


def test_rows_keep_the_names_of_their_columns(tmp_path):
    options = DataOptions(source="ten_clusters")
    data = prepare(read_labelled(options), options, seed=0)
    save_prepared(data, tmp_path / "rows")
    opened = open_prepared(tmp_path / "rows")
    assert opened.made_of == data.made_of
    assert opened.made_of.used == data.features
    same(opened, data)
    assert opened.features == data.features
    assert opened.unit == "rows"


def test_a_prepared_folder_is_a_source(digits, folder):
    options = DataOptions(source=str(folder))
    assert kind_of(options) == "images"
    labelled = read_labelled(options)
    assert labelled.left_out_counts.tolist() == [0] * 10
    assert labelled.lost_classes == {}
    same(prepare(labelled, options, seed=99), digits)
    assert len(labelled.table) == len(digits.ids)


@pytest.mark.parametrize("more", [{"imbalance": IMBALANCED}, {"split": SplitOptions(kind="random")}])
def test_its_parts_are_settled(folder, more):
    with pytest.raises(InputError, match="its parts are as they were saved"):
        read_labelled(DataOptions(source=str(folder), **more))


def test_nothing_is_written_over(digits, folder):
    with pytest.raises(InputError, match="exists: name a folder that does not"):
        save_prepared(digits, folder)


def test_what_cannot_be_written_leaves_nothing(digits, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=r"cannot be written .*No space left"):
        save_prepared(digits, tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_refused(folder):
    with (folder / "codes.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    with pytest.raises(InputError, match=r"codes\.npy was altered"):
        open_prepared(folder)


def test_another_folder_is_none(tmp_path):
    assert not is_prepared(tmp_path)
    assert not is_prepared(tmp_path / "missing")
    with pytest.raises(InputError, match="is no folder of prepared data"):
        open_prepared(tmp_path)
    (tmp_path / "header.json").write_text("[]")
    assert not is_prepared(tmp_path)


def test_a_folder_without_its_parts_is_refused(folder):
    (folder / "split.json").unlink()
    with pytest.raises(InputError, match=r"split\.json cannot be read"):
        open_prepared(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", "gap"),
        ("threshold", 1.0),
        ("window", (1.0, 2.0)),
        ("features", ["a"]),
        ("standardise", "all"),
        ("augment", "flip"),
        ("graph", GraphOptions(radius=3.0)),
    ],
)
def test_what_plays_no_part_is_told(folder, name, value):
    with pytest.warns(MatcardWarning, match=rf"--data\.{name} plays no part: .*digits is prepared") as told:
        labelled = read_labelled(DataOptions(source=str(folder), **{name: value}))
    assert len(told) == 1
    assert len(labelled.class_names) == 10


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"test_source": "t.csv"}, "--data.test_source t.csv.*digits is prepared"),
        ({"kind": "table"}, "--data.kind table: .*digits is prepared images; leave"),
    ],
)
def test_what_cannot_be_had_of_prepared_data_stops(folder, more, says):
    with pytest.raises(InputError, match=says):
        read_labelled(DataOptions(source=str(folder), **more))
