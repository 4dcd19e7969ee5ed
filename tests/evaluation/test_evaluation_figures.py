from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from evaluation_cases import imbalanced
from PIL import Image

from matcard.errors import InputError
from matcard.evaluation.calibration import reliability
from matcard.evaluation.confusion import confusion_matrix
from matcard.evaluation.curves import diagnostics_figure, learning_figure
from matcard.evaluation.figures import confusion_figure, precision_recall_figure, recall_figure, reliability_figure
from matcard.evaluation.metrics import classification_metrics
from matcard.evaluation.style import BLUE, save_figure, short
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
        if line.get_marker() in "oD"
        for x, y in line.get_xydata().tolist()
    }
    for row, name in enumerate(order):
        recall = metrics["recall"][name]
        if recall["n"]:
            assert points[row] == (recall["value"], "D" if name in metrics["minority_classes"] else "o")
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


def rows(epochs, **changed):
    return [
        {
            "epoch": str(epoch), "train_loss": f"{1 / (epoch + 1)}", "val_log_loss": "0.5",
            "val_macro_f1": f"{0.1 * (3 - abs(epoch - 2))}", "val_minority_recall": "nan", **changed,
        }
        for epoch in range(epochs)
    ]  # fmt: skip


@pytest.mark.parametrize("epochs", [1, 5, 40])
def test_learning_figure_marks_the_best_epoch(epochs):
    figure = learning_figure(rows(epochs), "macro_f1")
    labels = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert labels == ["macro-F1", f"epoch {min(3, epochs)}: best\nmacro-F1"]
    assert inside(figure)


def test_learning_figure_takes_a_column_that_some_epochs_lack():
    table = [{**row, "loss_scale": value} for row, value in zip(rows(3), ("1.0", "", "2.0"), strict=True)]
    assert learning_figure(table, "macro_f1").axes[2].get_lines()


def test_learning_figure_follows_a_metric_where_lower_is_better():
    values = rows(4)
    for row, value in zip(values, ["0.9", "0.4", "0.6", "nan"], strict=True):
        row["val_log_loss"] = value
    figure = learning_figure(values, "log_loss")
    assert any("epoch 2: best" in text.get_text() for text in figure.axes[2].get_legend().get_texts())


def test_learning_figure_without_a_defined_score_marks_nothing():
    figure = learning_figure(rows(3, val_macro_f1="nan"), "macro_f1")
    assert figure.axes[0].get_lines()[0].get_ydata().tolist() == [1, 1 / 2, 1 / 3]
    assert len(figure.axes[0].get_lines()) == 1


@pytest.mark.parametrize("table", [[], [{"epoch": "0"}]])
def test_learning_figure_needs_its_column(table):
    with pytest.raises(InputError, match="column val_macro_f1"):
        learning_figure(table, "macro_f1")


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


@pytest.mark.parametrize("shown", [["z"], list("abcdefg")])
def test_precision_recall_figure_refuses(shown):
    with pytest.raises(InputError, match="at most 6"):
        precision_recall_figure(np.array([0]), np.full((1, 7), 1 / 7), list("abcdefg"), shown)


def test_figures_are_written_whole(tmp_path):
    confusion, names, metrics = case(3, ["cubic", "$broken\\math", "R$\\bar{3}$c"])
    path = tmp_path / "confusion.png"
    save_figure(confusion_figure(confusion, names, metrics["minority_classes"]), path)
    with Image.open(path) as image:
        assert min(image.size) > 400
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    assert [file.name for file in tmp_path.iterdir()] == ["confusion.png"]


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


def diagnosed(names, epochs=6, **changed):
    rng = np.random.default_rng(0)
    table = []
    for epoch in range(epochs):
        shares = rng.dirichlet(np.ones(len(names)))
        row = {f"gradient_share_{name}": f"{share}" for name, share in zip(names, shares, strict=True)}
        counted = {"effective_errors_magnitude": f"{20 - epoch}", "effective_errors_spread": f"{9 - epoch}"}
        table.append({"epoch": str(epoch), "val_macro_f1": "0.5", **row, **counted, **changed})
    return table


def lines(axes):
    """Label to values of the lines over epochs; those across the page have no label of their own."""
    return {line.get_label(): line.get_ydata() for line in axes.get_lines() if not line.get_label().startswith("_")}


@pytest.mark.parametrize("epochs", [1, 6, 40])
def test_few_classes_are_drawn_one_by_one_the_largest_first(epochs, tmp_path):
    names, counts = ["a", "b$c", "a class of a long name that is cut"], np.array([30, 60, 10])
    table = diagnosed(names, epochs)
    figure = diagnostics_figure(table, names, counts)
    left, right = figure.axes
    drawn = lines(left)
    assert [label.split(" (")[1] for label in drawn] == ["60.0% of samples)", "30.0% of samples)", "10.0% of samples)"]
    for values, name in zip(drawn.values(), ["b$c", "a", names[2]], strict=True):
        np.testing.assert_allclose(values, [float(row[f"gradient_share_{name}"]) for row in table])
    across = [line.get_ydata()[0] for line in left.get_lines() if line.get_label().startswith("_")]
    assert across == pytest.approx([0.6, 0.3, 0.1])
    assert left.get_lines()[0].get_color() == BLUE
    np.testing.assert_allclose(lines(right)["magnitude"], [20 - epoch for epoch in range(epochs)])
    np.testing.assert_allclose(lines(right)["spread"], [9 - epoch for epoch in range(epochs)])
    assert (left.get_lines()[0].get_xdata() == np.arange(epochs) + 1).all()
    save_figure(figure, tmp_path / "diagnostics.png")


def test_many_classes_are_drawn_as_minority_and_others():
    names, counts = [f"c{k}" for k in range(9)], np.array([90, 80, 70, 9, 8, 7, 6, 5, 4])
    table = diagnosed(names)
    drawn = lines(diagnostics_figure(table, names, counts).axes[0])
    assert list(drawn) == ["3 common classes (86.0% of samples)", "6 minority classes (14.0% of samples)"]
    np.testing.assert_allclose(sum(drawn.values()), 1)
    expected = [sum(float(row[f"gradient_share_c{k}"]) for k in range(3, 9)) for row in table]
    np.testing.assert_allclose(drawn["6 minority classes (14.0% of samples)"], expected)


def test_many_classes_of_one_size_have_no_minority():
    names = [f"c{k}" for k in range(8)]
    drawn = lines(diagnostics_figure(diagnosed(names), names, np.full(8, 5)).axes[0])
    assert list(drawn) == ["8 common classes (100.0% of samples)"]


def test_undefined_shares_leave_a_gap():
    names = ["a", "b"]
    table = diagnosed(names)
    table[2] |= {"gradient_share_a": "nan", "gradient_share_b": ""}
    for values in lines(diagnostics_figure(table, names, np.array([3, 1])).axes[0]).values():
        assert np.isnan(values).tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("table", [[], [{"epoch": "0", "gradient_share_a": "1"}]])
def test_a_run_without_diagnostics_says_how_to_get_them(table):
    with pytest.raises(InputError, match=r"effective_errors_spread: train with --trainer\.diagnostics true"):
        diagnostics_figure(table, ["a"], np.array([1]))
