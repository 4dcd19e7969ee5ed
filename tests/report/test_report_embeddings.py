from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from matcard.errors import InputError
from matcard.report import embeddings, run
from matcard.report.run import write_report


def test_projection_keeps_distances_of_a_plane(tmp_path):
    rng = np.random.default_rng(0)
    plane, _ = np.linalg.qr(rng.normal(size=(6, 2)))
    flat = rng.normal(size=(30, 2))
    points, names = embeddings.project(flat @ plane.T + 3, "pca", 0)
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (points, flat)]
    assert distances[0] == pytest.approx(distances[1])
    assert "100%" not in names[1]
    with pytest.raises(InputError, match="three"):
        embeddings.project(flat[:2], "pca", 0)


def test_umap_is_asked_for_so_many_neighbours_as_there_are(monkeypatch):
    asked = []

    class Umap:
        def __init__(self, **options):
            asked.append(options)

        def fit_transform(self, embeddings):
            return embeddings[:, :2] * 2

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap, __spec__=True))
    values = np.arange(24.0).reshape(8, 3)
    points, axes = embeddings.project(values, "umap", 5)
    np.testing.assert_array_equal(points, values[:, :2] * 2)
    assert axes == ("UMAP 1", "UMAP 2")
    assert asked == [{"n_neighbors": 7, "random_state": 5, "n_jobs": 1}]


def test_umap_without_its_package_leaves_the_old_report(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(InputError, match="pip install umap-learn"):
        write_report(tmp_path, projection="umap")
    assert (tmp_path / "report.html").read_text() == "old"


def test_layers_part_all_points():
    targets = np.repeat(np.arange(9), np.arange(1, 10))
    layers = embeddings.class_layers(targets, [f"c{c}" for c in range(9)])
    assert [layer.label for layer in layers] == ["c8", "c7", "c6", "c5", "c4", "c3", "other classes (3)"]
    assert sorted(np.concatenate([layer.members for layer in layers])) == list(range(45))
    right, rare = targets % 2 == 0, targets < 3
    parted = embeddings.mistake_layers(right, rare)
    assert sorted(np.concatenate([layer.members for layer in parted])) == list(range(45))
    assert targets[parted[2].members].tolist() == [1, 1]


def test_magnitude_grows_from_one_to_the_number_of_points():
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1, 2], [40, 15, 4])
    table = embeddings.magnitude_table(rng.normal(size=(59, 5)), targets, ["a", "b", "c"], seed=0)
    for name, n in (("a", 40), ("b", 15), ("c", 4)):
        rows = table[table["class"] == name]
        assert (np.diff(rows["magnitude"]) > -1e-9).all()
        assert rows["magnitude"].iloc[-1] == pytest.approx(n, rel=1e-3)
        assert 1 <= rows["magnitude"].iloc[0] < 1 + 0.2 * n
