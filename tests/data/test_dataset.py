"""Batches of arrays, their mean and deviation, random changes of images, and what training knows of a data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.batch import ArrayBatch, ArrayDataset
from matcard.data.dataset import PAD, TrainingSet, augment, cropped, standardisation
from matcard.data.dataset import changed as what_changed
from matcard.data.groups import same_numbers
from matcard.data.options import DataOptions
from matcard.data.read import divide, read_labelled
from matcard.data.splits import Split

few = settings(deadline=None, max_examples=20)


def split_of(n: int) -> Split:
    order = np.random.default_rng(0).permutation(n)
    return Split(np.sort(order[: n // 2]), np.sort(order[n // 2 : -2]), np.sort(order[-2:]), "random", 0)


def test_a_batch_is_cut_in_one_piece():
    inputs = np.arange(60, dtype=np.uint8).reshape(5, 3, 2, 2)
    dataset = ArrayDataset(inputs, np.array([0, 1, 2, 1, 0]))
    batch = dataset.__getitems__([3, 0])
    assert batch.x.dtype == torch.float32
    assert torch.equal(batch.x, torch.tensor(inputs[[3, 0]], dtype=torch.float32))
    assert batch.y.tolist() == [1, 0]
    assert batch.index.tolist() == [3, 0]
    assert len(dataset) == 5
    assert dataset[2].x.shape == (1, 3, 2, 2)
    moved = batch.to("meta")
    assert {moved.x.device.type, moved.y.device.type, moved.index.device.type} == {"meta"}


def test_files_that_cannot_be_written_to_give_batches(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    batch = ArrayDataset(np.load(tmp_path / "x.npy", mmap_mode="r"), np.zeros(4, int)).__getitems__([1, 2])
    batch.x.add_(1)  # they are the batch's own


@few
@given(st.integers(8, 40), st.floats(-1e6, 1e6), st.floats(1e-2, 1e3), st.integers(0, 99))
def test_columns_of_the_training_part_get_mean_0_and_deviation_1(n, offset, spread, seed):
    inputs = offset + spread * np.random.default_rng(seed).normal(size=(n, 3))
    split = split_of(n)
    mean, std = standardisation(inputs, split.train)
    np.testing.assert_allclose(mean, inputs[split.train].mean(0), rtol=1e-6, atol=1e-6 * spread)
    np.testing.assert_allclose(std, inputs[split.train].std(0), rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.7, -1e8, 1e-30])
def test_a_column_that_does_not_vary_is_divided_by_one(value):
    inputs = np.full((6, 2), value)
    inputs[:, 1] = np.arange(6)
    _, std = standardisation(inputs, np.arange(6))
    assert std[0] == 1.0
    assert std[1] == pytest.approx(np.std(np.arange(6)))


def test_channels_of_images():
    images = np.random.default_rng(0).integers(0, 256, (9000, 3, 4, 4), dtype=np.uint8)  # more than one piece
    split = split_of(9000)
    mean, std = standardisation(images, split.train)
    assert mean.shape == std.shape == (3, 1, 1)
    for c in range(3):
        assert mean[c].item() == pytest.approx(images[split.train, c].mean(), rel=1e-6)
        assert std[c].item() == pytest.approx(images[split.train, c].std(), rel=1e-6)


def test_a_crop_is_cut_from_the_framed_image():
    images = torch.rand(6, 2, 5, 7)
    rows, columns = torch.tensor([0, 8, 4, 1, 3, 7]), torch.tensor([8, 0, 4, 2, 5, 6])
    result = cropped(images, rows, columns)
    for k, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        for i in range(5):
            for j in range(7):
                y, x = i + row - PAD, j + column - PAD
                inside = 0 <= y < 5 and 0 <= x < 7
                expected = images[k, :, y, x] if inside else torch.zeros(2)
                assert torch.equal(result[k, :, i, j], expected)


def test_half_of_the_images_are_mirrored(monkeypatch):
    monkeypatch.setattr("matcard.data.dataset.cropped", lambda images, rows, columns: images)
    torch.manual_seed(0)
    images = torch.rand(400, 1, 3, 3)
    result = augment(images)
    kept = (result == images).flatten(1).all(1)
    mirrored = (result == images.flip(3)).flatten(1).all(1)
    assert (kept | mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_augmentation_is_of_the_seed():
    images = torch.rand(5, 1, 6, 6)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(images))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert results[0].shape == images.shape


def data(tmp_path, **more) -> TrainingSet:
    path = tmp_path / "images.npz"
    np.savez(path, x_train=np.random.default_rng(0).random((24, 4, 4)).astype(np.float32), y_train=np.arange(24) % 2)
    options = DataOptions(source=str(path), **more)
    return divide(read_labelled(options), options, seed=0)


def test_what_a_network_is_told(tmp_path):
    arguments = data(tmp_path).model_arguments
    assert arguments["input_shape"] == (1, 4, 4)
    assert arguments["mean"].shape == arguments["std"].shape == (1, 1, 1)
    assert data(tmp_path).unit == "images"


def test_training_batches_are_augmented_and_keep_their_classes(tmp_path):
    plain = data(tmp_path)
    batch = plain.dataset.__getitems__([1, 4, 6])
    assert plain.augmented(batch).x is batch.x
    changed = data(tmp_path, augment="crop-flip").augmented(batch)
    assert isinstance(changed, ArrayBatch)
    assert not torch.equal(changed.x, batch.x)
    assert torch.equal(changed.y, batch.y)
    assert torch.equal(changed.index, batch.index)


def test_the_fingerprint_names_what_differs(tmp_path):
    one, other = data(tmp_path), data(tmp_path)
    assert one.fingerprint == other.fingerprint
    assert what_changed(one.fingerprint, other.fingerprint) == []
    other.codes[0] = 1
    assert what_changed(one.fingerprint, other.fingerprint) == ["labels"]
    other.samples.inputs.flat[0] += 1
    assert what_changed(one.fingerprint, other.fingerprint) == [one.unit, "labels"]


def test_samples_of_the_same_numbers_are_one_group():
    rows = np.array([[0.0, 1.0], [2.0, 1.0], [-0.0, 1.0], [2.0, 1.0], [2.0, 3.0]])
    groups = same_numbers(rows).tolist()
    assert groups[0] == groups[2] != groups[1] == groups[3]
    assert len(set(groups)) == 3
    images = np.zeros((3, 2, 2, 2), np.uint8)
    images[1, 1, 1, 1] = 1
    groups = same_numbers(images).tolist()
    assert groups[0] == groups[2] != groups[1]
