from __future__ import annotations

import io

import numpy as np
import pytest
from evaluation_cases import imbalanced
from rich.console import Console

from matcard.evaluation.metrics import classification_metrics
from matcard.evaluation.printed import class_count_table, recall_table, summary_line
from matcard.files import read_json, to_json

NAMES = ["cubic", "tetragonal [x]", "a phase with a name that is far too long for one line of a table", "rare"]


def rendered(table, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def metrics():
    targets, probabilities, counts = imbalanced(300, 4)
    targets[targets == 3] = 0
    return classification_metrics(targets, probabilities, class_names=NAMES, train_counts=counts)


def test_each_class_stands_with_its_counts_and_interval(metrics):
    lines = rendered(recall_table(metrics), width=160).splitlines()
    for name in NAMES[:3]:
        (line,) = [line for line in lines if name in line]
        recall = metrics["recall"][name]
        assert f"{recall['value']:.3f}" in line
        assert f"{recall['low']:.3f} to {recall['high']:.3f}" in line
        assert f"{round(recall['value'] * recall['n'])} / {recall['n']}" in line
        assert ("*" in line) == (name in metrics["minority_classes"])
    (absent,) = [line for line in lines if line.strip().startswith("rare")]
    assert "no samples" in absent
    assert "0 / 0" in absent


def test_narrow_screens_lose_no_number(metrics):
    text = rendered(recall_table(metrics), width=80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_summary_says_over_how_many_classes(metrics):
    line = summary_line(metrics)
    assert f"minority-phase recall {metrics['minority_recall']:.3f} (1 of 2 * classes)" in line
    assert line.endswith("300 samples, 3 of 4 classes")
    assert f"macro-F1 {metrics['macro_f1']:.3f}" in line


def test_no_minority_is_said():
    targets, probabilities, _ = imbalanced(50, 2)
    metrics = classification_metrics(targets, probabilities, class_names=["a", "b"], train_counts=[5, 5])
    assert "no minority class" in summary_line(metrics)


def test_metrics_read_back_from_their_file_print_the_same(metrics, tmp_path):
    to_json(metrics, tmp_path / "m.json")
    assert rendered(recall_table(read_json(tmp_path / "m.json"))) == rendered(recall_table(metrics))


def test_plain_ascii_screens_can_show_it(metrics):
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="cp1252"), width=100)
    console.print(recall_table(metrics))


def test_class_counts():
    counts = {"train": np.array([50, 30, 5]), "val": np.array([10, 6, 1]), "test": np.array([11, 5, 0])}
    text = rendered(class_count_table(["a", "b", "c"], counts, np.array([0, 2, 0])))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["a"] == ["a", "50", "10", "11", "0", "58.8%"]
    assert rows["c"] == ["c", "*", "5", "1", "0", "0", "5.9%"]
    assert rows["all"] == ["all", "85", "17", "16", "2"]
    assert "* less than 1/3 of the training part" in text


def test_class_counts_without_minority_or_left_out():
    text = rendered(class_count_table(["a", "b"], {"train": np.array([5, 5]), "val": np.array([1, 1])}))
    assert "*" not in text
    assert "left out" not in text


def test_distinct_samples_and_what_is_drawn_stand_beside_the_counts():
    counts = {"train": np.array([50, 150]), "val": np.array([10, 6])}
    table = class_count_table(["a", "b"], counts, distinct=np.array([48.31, 9.06]), drawn=np.array([160.0, 40.0]))
    rows = {line.split()[0]: line.split() for line in rendered(table).splitlines() if line.strip()}
    assert rows["class"] == ["class", "train", "val", "distinct", "share", "drawn"]
    assert rows["b"] == ["b", "150", "6", "9.1", "75.0%", "20.0%"]
