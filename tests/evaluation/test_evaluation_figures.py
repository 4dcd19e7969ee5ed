from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from evaluation_cases import imbalanced

from matcard.evaluation.calibration import reliability
from matcard.evaluation.confusion import confusion_matrix
from matcard.evaluation.figures import confusion_figure, precision_recall_figure, recall_figure, reliability_figure
from matcard.evaluation.metrics import classification_metrics
from matcard.evaluation.style import save_figure, short
from matcard.files import read_json, to_json


def texts(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def case(num_classes, names=None, n=300):
    targets, probabilities, counts = imbalanced(n, num_classes)
    names = names or [f"a phase of number {index} with a long name" for index in range(num_classes)]
    metrics = classification_metrics(targets, probabilities, class_names=names, train_counts=counts)
    return confusion_matrix(targets, probabilities.argmax(axis=1), num_classes), names, metrics


def inside(figure):
    """Nothing that is drawn reaches over the edge of the page."""
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return drawn.x0 >= -0.01 and drawn.y0 >= -0.01 and drawn.x1 <= width + 0.01 and drawn.y1 <= height + 0.01


@pytest.mark.parametrize("num_classes", [2, 5, 13, 32])
def test_confusion_shows_every_count_and_name(num_classes):
    confusion, names, metrics = case(num_classes)
    figure = confusion_figure(confusion, names, metrics["minority_classes"])
    axes = figure.axes[0]
    cells = [text.split("\n")[0] for text in texts(axes)]
    shown = confusion if num_classes <= 12 else confusion[confusion > 0]
    assert cells == [f"{count:,}" for count in shown.ravel()]
    for label, support in zip(tick_labels(axes.yaxis), confusion.sum(axis=1), strict=True):
        assert label.endswith(f"({support:,})")
    assert inside(figure)


def test_confusion_colours_are_shares_of_the_true_class():
    figure = confusion_figure(np.array([[3, 1], [0, 0]]), ["a", "b"])
    colours = figure.axes[0].images[0].get_array()
    assert colours[0].tolist() == [0.75, 0.25]
    assert colours[1].mask.all() or np.isnan(colours[1]).all()


def test_minority_classes_are_marked():
    confusion, names, metrics = case(4)
    figure = confusion_figure(confusion, names, metrics["minority_classes"])
    weights = [label.get_fontweight() for label in figure.axes[0].get_yticklabels()]
    assert [weight == "bold" for weight in weights] == [name in metrics["minority_classes"] for name in names]


@pytest.mark.parametrize("num_classes", [2, 7, 32])
def test_recall_figure_draws_value_and_interval(num_classes):
    _, names, metrics = case(num_classes)
    figure = recall_figure(metrics)
    axes = figure.axes[0]
    order = sorted(names, key=lambda name: -metrics["recall"][name]["n"])
    points = {
        round(y): (x, line.get_marker())
        for line in axes.lines
        if line.get_marker() == "o"
        for x, y in line.get_xydata().tolist()
    }
    for row, name in enumerate(order):
        recall = metrics["recall"][name]
        if recall["n"]:
            assert points[row] == (recall["value"], "o")
        else:
            assert row not in points
    ends = {round(float(path[0][1])): path[:, 0].tolist() for c in axes.collections for path in c.get_segments()}
    assert ends == {
        row: [metrics["recall"][name]["low"], metrics["recall"][name]["high"]]
        for row, name in enumerate(order)
        if metrics["recall"][name]["n"]
    }
    assert inside(figure)


def test_recall_figure_without_minority_or_samples_of_a_class():
    targets = np.array([0, 0, 1])
    metrics = classification_metrics(targets, np.eye(3)[targets], class_names=list("abc"), train_counts=[5, 5, 5])
    figure = recall_figure(metrics)
    assert "no samples" in texts(figure.axes[0])
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels == ["mean over all classes: 1.000"]


def test_recall_figure_of_metrics_read_back(tmp_path):
    _, _, metrics = case(3)
    to_json(metrics, tmp_path / "m.json")
    figure = recall_figure(read_json(tmp_path / "m.json"))
    assert len(figure.axes[0].get_yticklabels()) == 3


def test_reliability_figure_skips_empty_bins():
    targets, probabilities, _ = imbalanced(num_classes=2)
    bins = reliability(targets, probabilities)
    figure = reliability_figure(bins)
    curve = figure.axes[0].get_lines()[1]
    assert len(curve.get_xdata()) == (bins.total > 0).sum() < len(bins.total)
    assert inside(figure)


def test_precision_recall_figure_ends_at_the_prevalence():
    targets, probabilities, _ = imbalanced(num_classes=3)
    figure = precision_recall_figure(targets, probabilities, list("abc"), ["b", "c"])
    curve, dotted = figure.axes[0].get_lines()[:2]
    assert curve.get_xydata()[-1].tolist() == [1.0, (targets == 1).mean()]
    assert dotted.get_ydata()[0] == (targets == 1).mean()
    assert len(figure.axes[0].get_lines()) == 4


def test_precision_recall_figure_leaves_out_what_is_absent():
    figure = precision_recall_figure(np.array([0, 0]), np.full((2, 2), 0.5), ["a", "b"], ["b"])
    assert figure.axes[0].get_lines() == []


def test_figures_are_written_whole(tmp_path):
    confusion, names, metrics = case(3, ["cubic", "$broken\\math", "R$\\bar{3}$c"])
    path = tmp_path / "confusion.svg"
    save_figure(confusion_figure(confusion, names, metrics["minority_classes"]), path)
    drawing = ElementTree.parse(path).getroot()
    assert min(map(float, drawing.attrib["viewBox"].split()[2:])) > 144
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}path"))) > 20
    assert [file.name for file in tmp_path.iterdir()] == ["confusion.svg"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cubic", "cubic"), ("0123456789", "0123456789"), ("0123456789x", "0123…6789x"), ("a$b", r"a\$b")],
)
def test_names_are_cut_in_the_middle(name, expected):
    assert short(name, 10) == expected


def test_pyplot_is_never_loaded():
    code = (
        "import sys, numpy as np\nfrom matcard.evaluation.figures import confusion_figure\n"
        "confusion_figure(np.eye(2, dtype=int), ['a', 'b'])\nprint('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
