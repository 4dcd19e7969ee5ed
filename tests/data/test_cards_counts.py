from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from card_cases import download_of, make_card
from pickle_cases import cifar_files, write_tar
from test_image_files import idx_bytes

from matcard.data.card import load_card
from matcard.data.read import measure_counts
from matcard.errors import MatcardWarning


def put(card, **files):
    """Give a card of its own files, placed where they belong."""
    card.folder.mkdir(parents=True, exist_ok=True)
    downloads = []
    for name, content in files.items():
        (card.folder / name).write_bytes(content)
        downloads.append(download_of(f"http://127.0.0.1:1/{name}", content))
    return replace(card, urls=tuple(downloads))


@pytest.fixture
def gaps(cache_folder):
    """A card of crystals in matminer's layout; the structures are none, which counting does not see."""
    rows = [["nonsense", gap] for gap in (0.0, 0.5, 3.0, 4.0, None, 9.0)]
    content = gzip.compress(
        json.dumps({"index": list("abcdef"), "columns": ["structure", "gap"], "data": rows}).encode()
    )
    card = make_card(format="matminer", structure_column="structure", threshold=3.0)
    return put(card, **{"some_set.json.gz": content})


def test_crystals_are_counted_by_their_target_alone(gaps):
    assert gaps.known_counts is None
    assert measure_counts(gaps) == {"gap < 3": 2, "gap >= 3": 3}
    assert gaps.known_counts == {"gap < 3": 2, "gap >= 3": 3}
    kept = json.loads((gaps.folder / "class_counts.json").read_text())
    assert kept["counts"] == {"gap < 3": 2, "gap >= 3": 3}


def test_counts_are_of_the_target_that_the_card_has_now(gaps):
    measure_counts(gaps)
    assert replace(gaps, threshold=4.0).known_counts is None
    assert replace(gaps, threshold=None, bins=(3.0,)).known_counts is None
    assert replace(gaps, threshold=4.0, class_counts={"a": 1, "b": 2}).known_counts == {"a": 1, "b": 2}
    assert measure_counts(replace(gaps, threshold=None, bins=(1.0, 4.0))) == {
        "gap < 1": 2,
        "1 <= gap < 4": 1,
        "gap >= 4": 2,
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"target": 1}', '{"counts": {"a": "b"}}'])
def test_counts_that_were_damaged_are_as_if_not_measured(gaps, text):
    measure_counts(gaps)
    (gaps.folder / "class_counts.json").write_text(text)
    assert gaps.known_counts is None


def test_counts_that_differ_from_the_cards_are_said(gaps):
    with pytest.warns(MatcardWarning, match=r"some_set: the files hold .*2.*, the card states \{'a': 1, 'b': 1\}"):
        measure_counts(replace(gaps, class_counts={"a": 1, "b": 1}))


def test_counts_that_cannot_be_kept_are_given_nevertheless(gaps, monkeypatch):
    def refuse(path, target):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.warns(MatcardWarning, match=r"not kept in .*class_counts\.json \(Read-only file system\)"):
        assert measure_counts(gaps) == {"gap < 3": 2, "gap >= 3": 3}
    assert gaps.known_counts is None


def test_compositions_are_counted(test_data, cache_folder):
    card = load_card("deepglassnet")
    for download, ours in zip(card.urls, ("glass_train.csv.gz", "glass_validation.csv.gz"), strict=True):
        card.folder.mkdir(parents=True, exist_ok=True)
        (card.folder / download.file_name).write_bytes(gzip.decompress((test_data / ours).read_bytes()))
    assert measure_counts(card) == card.class_counts


def test_images_of_mnist_are_counted(test_data, cache_folder):
    images = np.load(test_data / "mnist.npz")
    files = {
        f"{part}-labels-idx1-ubyte.gz": gzip.compress(idx_bytes(images[key].astype(np.uint8)))
        for part, key in (("train", "y_train"), ("t10k", "y_test"))
    }
    for part, count in (("train", len(images["y_train"])), ("t10k", len(images["y_test"]))):
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx_bytes(np.zeros((count, 1, 1), np.uint8)))
    card = put(load_card("mnist"), **files)
    assert measure_counts(card) == card.class_counts


@pytest.mark.parametrize(("name", "labels"), [("cifar10", ("labels",)), ("cifar100", ("coarse_labels", "fine_labels"))])
def test_images_of_cifar_are_counted(cache_folder, tmp_path, name, labels):
    held, files = cifar_files(labels, classes=4, images=9)
    content = write_tar(tmp_path / "c.tar.gz", files).read_bytes()
    card = put(replace(load_card(name), class_counts=None), **{"c.tar.gz": content})
    targets = [label for batch in held.values() for label in batch.get(labels[-1], [])]
    assert measure_counts(card) == {f"class {k}": targets.count(k) for k in range(4)}


@pytest.mark.parametrize("name", ["digits", "make_classification", "perovskite_phases"])
def test_what_code_makes_has_the_counts_that_its_card_states(name, cache_folder):
    card = load_card(name)
    assert measure_counts(card) == card.class_counts
    assert not card.folder.exists()
