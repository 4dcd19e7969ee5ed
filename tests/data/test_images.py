"""Images of every format as arrays, channels first, with a given test part marked."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from matcard.data.options import DataOptions, SplitOptions
from matcard.data.read import divide, read, read_labelled
from matcard.errors import InputError

RNG = np.random.default_rng(0)


def images(n=12, channels=None, side=6):
    shape = (n, side, side) if channels is None else (n, side, side, channels)
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def npz(path, **arrays):
    np.savez(path, **arrays)
    return DataOptions(source=str(path))


def test_the_digits_of_scikit_learn():
    labelled = read_labelled(DataOptions(source="digits"))
    assert labelled.inputs.shape == (1797, 1, 8, 8)
    assert labelled.inputs.dtype == np.uint8
    assert labelled.class_names == tuple("0123456789")
    assert labelled.test is None


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_npz_of_arrays(tmp_path, channels):
    x_train, x_test, y_train, y_test = images(12, channels), images(5, channels), np.arange(12) % 3, np.arange(5) % 3
    options = npz(tmp_path / "some.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    table = read_labelled(options)
    assert table.inputs.shape == (17, channels or 1, 6, 6)
    expected = x_train[3] if channels is None else x_train[3, :, :, -1]
    np.testing.assert_array_equal(table.inputs[3, -1], expected)
    assert table.test.tolist() == [False] * 12 + [True] * 5
    assert table.ids[[0, 12]].tolist() == ["train-0", "test-0"]
    data = divide(read_labelled(options), options, seed=0)
    assert data.split.kind == "given"
    np.testing.assert_array_equal(data.split.test, np.arange(12, 17))


def test_folds_go_before_a_given_test_part(tmp_path):
    options = npz(
        tmp_path / "some.npz", x_train=images(24), y_train=np.arange(24) % 2, x_test=images(6), y_test=[0, 1] * 3
    )
    labelled = read_labelled(options)
    folds = [replace(options, split=SplitOptions(folds=3, fold=fold)) for fold in range(3)]
    splits = [divide(labelled, fold, seed=0).split for fold in folds]
    assert {split.kind for split in splits} == {"duplicates"}
    np.testing.assert_array_equal(np.sort(np.concatenate([split.test for split in splits])), np.arange(30))


def test_a_second_source_of_images_is_the_test_part(tmp_path):
    first = npz(tmp_path / "a.npz", x_train=images(20), y_train=np.arange(20) % 2, x_test=images(4), y_test=[0, 1] * 2)
    seen = np.load(first.source)["x_train"][:3]
    npz(tmp_path / "b.npz", x_train=np.concatenate([seen, images(5)]), y_train=np.arange(8) % 2)
    options = replace(first, test_source=str(tmp_path / "b.npz"))
    labelled = read_labelled(options)
    assert labelled.test.tolist() == [False] * 24 + [True] * 8
    assert labelled.ids[[0, 20, 24]].tolist() == ["train-0", "test-0", "test_source-train-0"]
    split = divide(labelled, options, seed=0).split
    assert split.test.tolist() == list(range(24, 32))
    assert split.cut.tolist() == [0, 1, 2], "equal images are not trained on"
    npz(tmp_path / "c.npz", x_train=images(4, side=7), y_train=[0, 1] * 2)
    with pytest.raises(InputError, match="images of the training and test part differ"):
        read_labelled(replace(options, test_source=str(tmp_path / "c.npz")))
    with pytest.raises(InputError, match=r"absent\.npz does not exist"):
        read_labelled(replace(options, test_source=str(tmp_path / "absent.npz")))


def test_two_sources_of_images_have_the_same_classes(tmp_path):
    first = npz(tmp_path / "a.npz", x_train=images(8), y_train=np.arange(8) % 2, class_names=["cat", "dog"])
    npz(tmp_path / "b.npz", x_train=images(8), y_train=np.arange(8) % 2, class_names=["dog", "cat"])
    with pytest.raises(InputError, match=r"b\.npz has the classes dog, cat, the source cat, dog"):
        read_labelled(replace(first, test_source=str(tmp_path / "b.npz")))


def test_npz_without_a_test_part_is_divided(tmp_path):
    options = npz(tmp_path / "some.npz", x_train=images(30), y_train=np.arange(30) % 2, class_names=["cat", "dog"])
    labelled = read_labelled(options)
    assert labelled.class_names == ("cat", "dog")
    assert divide(labelled, options, seed=0).split.kind == "duplicates"


def encoded(arrays, form):
    content, offsets = b"", [0]
    for array in arrays:
        file = io.BytesIO()
        Image.fromarray(array).save(file, form)
        content += file.getvalue()
        offsets.append(len(content))
    return np.frombuffer(content, np.uint8), np.array(offsets)


def test_npz_of_encoded_images(tmp_path):
    pictures = images(5, 3)
    content, offsets = encoded(pictures, "PNG")  # lossless
    options = npz(
        tmp_path / "jpeg.npz", train_jpeg=content, train_offset=offsets, train_label=np.array([0, 1, 0, 1, 1])
    )
    table = read_labelled(options)
    np.testing.assert_array_equal(table.inputs, pictures.transpose(0, 3, 1, 2))
    cut = npz(tmp_path / "cut.npz", train_jpeg=content[:-40], train_offset=offsets, train_label=np.arange(5) % 2)
    with pytest.raises(InputError, match="image 4 cannot be decoded"):
        read_labelled(cut)


def write_idx(path, array):
    kind = {"uint8": 8}[str(array.dtype)]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    with gzip.open(path, "wb") as file:
        file.write(head + array.tobytes())


def test_a_folder_of_the_files_of_mnist(tmp_path):
    parts = {
        "train": (images(8), np.arange(8, dtype=np.uint8) % 2),
        "t10k": (images(4), np.arange(4, dtype=np.uint8) % 2),
    }
    for name, (pictures, labels) in parts.items():
        write_idx(tmp_path / f"{name}-images-idx3-ubyte.gz", pictures)
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte.gz", labels)
    table = read_labelled(DataOptions(source=str(tmp_path)))
    np.testing.assert_array_equal(table.inputs[:, 0], np.concatenate([parts["train"][0], parts["t10k"][0]]))
    assert table.test.sum() == 4
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="no file t10k-labels"):
        read_labelled(DataOptions(source=str(tmp_path)))


def test_a_folder_of_the_files_of_cifar_100(tmp_path):
    data = {
        "train": RNG.integers(0, 256, (6, 3072), dtype=np.uint8),
        "test": RNG.integers(0, 256, (2, 3072), dtype=np.uint8),
    }
    for name, array in data.items():
        labels = [k % 2 for k in range(len(array))]
        batch = {"data": array, "fine_labels": labels, "coarse_labels": labels}
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=4))
    names = {"fine_label_names": ["apple", "bear"], "coarse_label_names": ["fruit", "beast"]}
    (tmp_path / "meta").write_bytes(pickle.dumps(names, protocol=4))
    labelled = read_labelled(DataOptions(source=str(tmp_path)))
    assert labelled.class_names == ("apple", "bear")
    assert labelled.inputs.shape == (8, 3, 32, 32)
    np.testing.assert_array_equal(labelled.inputs[:6].reshape(6, -1), data["train"])
    assert labelled.test.tolist() == [False] * 6 + [True] * 2


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"pixels": images()}, "expected the arrays x_train and y_train"),
        ({"x_train": images(4), "y_train": np.arange(3)}, "4 images need as many classes"),
        ({"x_train": images(4), "y_train": np.array([0.0, 1.0, 0.0, 1.0])}, "as whole numbers; found float64"),
        ({"x_train": images(4), "y_train": np.array([0, 1, -1, 0])}, "classes run from -1 to 1"),
        ({"x_train": images(4), "y_train": np.arange(4), "class_names": ["a", "b"]}, "and there are 2 names"),
        ({"x_train": images(4)[:, :, :, None, None], "y_train": np.arange(4)}, r"shape \(4, 6, 6, 1, 1\); expected"),
        ({"x_train": np.full((4, 6, 6), np.nan), "y_train": np.arange(4)}, "not finite"),
        (
            {"x_train": images(4), "y_train": np.arange(4), "x_test": images(2, side=8), "y_test": np.arange(2)},
            "training and test part differ",
        ),
    ],
)
def test_arrays_of_no_use(tmp_path, arrays, says):
    with pytest.raises(InputError, match=says):
        read(npz(tmp_path / "bad.npz", **arrays))


def test_a_file_that_is_no_npz(tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad\.npz cannot be read"):
        read(DataOptions(source=str(path)))


def test_cifar_10_with_its_tail(test_data, tmp_path):
    with np.load(test_data / "cifar10_lt100_jpeg.npz") as file:
        arrays = {name: file[name] for name in file.files}
    assert np.bincount(arrays["train_label"]).tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    for part in ("train", "test"):  # decoding all of them takes seconds
        some = 200 if part == "train" else 40
        arrays[f"{part}_label"] = arrays[f"{part}_label"][:some]
        arrays[f"{part}_offset"] = arrays[f"{part}_offset"][: some + 1]
    table = read(npz(tmp_path / "some.npz", **arrays))
    assert table.inputs.shape == (240, 3, 32, 32)
    assert table.inputs.std() > 40, "photographs, not noise around a grey"
    assert table.test.sum() == 40
