from __future__ import annotations

import gzip
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from pickle_cases import cifar_files, python2_pickle, write_tar

from matcard.data.image_files import read_cifar, read_idx
from matcard.errors import InputError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """An idx file by its definition, one number after the other."""
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    letter = {"u1": "B", "i1": "b", "i2": "h", "i4": "i", "f4": "f", "f8": "d"}[kind]
    content = bytes([0, 0, CODES[kind], array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return content + b"".join(struct.pack(f">{letter}", value) for value in array.ravel().tolist())


@settings(deadline=None, max_examples=30)
@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    zipped=st.booleans(),
)
def test_any_array_is_read_as_it_was_written(tmp_path_factory, array, zipped):
    path = tmp_path_factory.getbasetemp() / f"some-idx{array.ndim}-ubyte{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable
    assert_array_equal(read, array)


def test_the_test_labels_of_mnist_have_the_size_that_the_card_states(test_data, tmp_path):
    labels = np.load(test_data / "mnist.npz")["y_test"].astype(np.uint8)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(labels))
    assert path.stat().st_size == 10_008, "the official file, unzipped"
    assert_array_equal(read_idx(path), labels)


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08", "begins with 00 00 08"),
        (b"\x1f\x8b\x08\x00", "begins with 1f 8b 08 00"),
        (b"\0\0\x07" + GOOD[3:], "begins with 00 00 07 02"),
        (GOOD[:-1], r"has 17 bytes, but 18 for the shape \(2, 3\)"),
        (GOOD + b"\0", r"has 19 bytes, but 18 for the shape \(2, 3\)"),
        (GOOD[:10], r"has 10 bytes, less than a header of 2 axes"),
    ],
)
def test_what_is_no_idx_file_is_named_with_what_is_wrong(tmp_path, content, says):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path} .*{says}"):
        read_idx(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(GOOD)[:-4])
    with pytest.raises(InputError, match=r"labels\.gz cannot be read"):
        read_idx(path)
    with pytest.raises(InputError, match="absent cannot be read"):
        read_idx(tmp_path / "absent")


@pytest.fixture
def cifar10(tmp_path):
    held, files = cifar_files()
    return held, files, write_tar(tmp_path / "cifar-10-python.tar.gz", files)


def as_images(data):
    """Pixel by pixel: 1024 values of red, then green, then blue, each row by row."""
    images = np.zeros((len(data), 32, 32, 3), np.uint8)
    for n, row in enumerate(data):
        for k, value in enumerate(row):
            images[n, k % 1024 // 32, k % 32, k // 1024] = value
    return images


def test_cifar10_is_read_from_its_archive_and_from_its_folder(cifar10, tmp_path):
    held, files, archive = cifar10
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for source in (archive, folder, tmp_path):
        parts, names = read_cifar(source)
        (x_train, y_train), (x_test, y_test) = parts["train"], parts["test"]
        assert_array_equal(x_train, np.concatenate([as_images(held[f"data_batch_{k}"]["data"]) for k in range(1, 6)]))
        assert y_train.tolist() == [label for k in range(1, 6) for label in held[f"data_batch_{k}"]["labels"]]
        assert_array_equal(x_test, as_images(held["test_batch"]["data"]))
        assert y_test.tolist() == held["test_batch"]["labels"]
        assert names == tuple(f"class {k}" for k in range(10))
        assert (x_train.dtype, y_train.dtype, x_train.flags.c_contiguous) == (np.uint8, np.int64, True)


def test_of_cifar100_the_fine_labels_are_read(tmp_path):
    held, files = cifar_files(("fine_labels", "coarse_labels"), classes=7)
    parts, names = read_cifar(write_tar(tmp_path / "cifar-100-python.tar.gz", files, "cifar-100-python"))
    assert parts["train"].labels.tolist() == held["train"]["fine_labels"]
    assert parts["test"].labels.tolist() == held["test"]["fine_labels"]
    assert len(names) == 7


def test_arrays_of_numpy_2_are_read_too(tmp_path):
    held, files = cifar_files(core="numpy._core")
    assert (
        read_cifar(write_tar(tmp_path / "c.tar.gz", files))[0]["test"].labels.tolist() == held["test_batch"]["labels"]
    )


def test_a_pickle_that_would_run_something_is_refused_by_name(cifar10, tmp_path):
    _, files, _ = cifar10
    files["data_batch_3"] = pickle.dumps(print, 2)
    with pytest.raises(InputError, match=r"data_batch_3 names .*print, which has no place"):
        read_cifar(write_tar(tmp_path / "evil.tar.gz", files))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("data_batch_2", lambda batch: {**batch, "data": batch["data"][:, :-1]}, "data_batch_2 .*reshape"),
        ("data_batch_2", lambda batch: {**batch, "data": batch["data"].astype("i4")}, "data_batch_2 .*bytes"),
        ("data_batch_2", lambda batch: {**batch, "data": [1]}, "data_batch_2 .*AttributeError"),
        ("data_batch_2", lambda batch: {**batch, "labels": batch["labels"][1:]}, "data_batch_2 .*reshape"),
        ("test_batch", lambda batch: {**batch, "labels": [0, 1, 2, 10]}, "test_batch .*labels from 0 to 9"),
        ("test_batch", lambda batch: {**batch, "labels": "abcd"}, "test_batch .*TypeError"),
        ("test_batch", lambda batch: {"data": batch["data"]}, "test_batch .*KeyError: 'labels'"),
        ("test_batch", lambda batch: [1], "test_batch .*TypeError"),
        ("batches.meta", lambda meta: {}, "data_batch_1 and batches.meta .*KeyError: 'label_names'"),
    ],
)
def test_what_is_wrong_with_a_batch_is_named(cifar10, tmp_path, name, change, says):
    held, files, _ = cifar10
    files[name] = python2_pickle(change(held[name]))
    with pytest.raises(InputError, match=rf"wrong\.tar\.gz: {says}"):
        read_cifar(write_tar(tmp_path / "wrong.tar.gz", files))


def test_a_missing_batch_is_named(cifar10, tmp_path):
    _, files, _ = cifar10
    del files["data_batch_5"]
    with pytest.raises(InputError, match=r"has no file data_batch_5, only batches\.meta, data_batch_1"):
        read_cifar(write_tar(tmp_path / "less.tar.gz", files))
    with pytest.raises(InputError, match=r"has no file batches\.meta, only none of those expected"):
        read_cifar(write_tar(tmp_path / "none.tar.gz", {}))
