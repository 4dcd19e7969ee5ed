"""The figures of a training: learning, and what the loss did."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from matcard.errors import InputError
from matcard.evaluation.style import BLUE, save_figure
from matcard.report.training import best_epoch, diagnostics_figure, learning_figure


def inside(figure):
    """Nothing that is drawn reaches over the edge of the page."""
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return drawn.x0 >= -0.01 and drawn.y0 >= -0.01 and drawn.x1 <= width + 0.01 and drawn.y1 <= height + 0.01


def read(rows):
    """The rows as they are read back from `metrics.csv`."""
    return pd.read_csv(io.StringIO(pd.DataFrame(rows).to_csv(index=False))) if rows else pd.DataFrame()


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
    figure = learning_figure(read(rows(epochs)), "macro_f1")
    labels = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert labels == ["macro-F1", f"epoch {min(3, epochs)}: best\nmacro-F1"]
    assert inside(figure)


def test_learning_figure_takes_a_column_that_some_epochs_lack():
    table = [{**row, "loss_scale": value} for row, value in zip(rows(3), ("1.0", "", "2.0"), strict=True)]
    assert learning_figure(read(table), "macro_f1").axes[2].get_lines()


def test_learning_figure_follows_a_metric_where_lower_is_better():
    values = rows(4)
    for row, value in zip(values, ["0.9", "0.4", "0.6", "nan"], strict=True):
        row["val_log_loss"] = value
    figure = learning_figure(read(values), "log_loss")
    assert any("epoch 2: best" in text.get_text() for text in figure.axes[2].get_legend().get_texts())


def test_learning_figure_without_a_defined_score_marks_nothing():
    figure = learning_figure(read(rows(3, val_macro_f1="nan")), "macro_f1")
    assert figure.axes[0].get_lines()[0].get_ydata().tolist() == [1, 1 / 2, 1 / 3]
    assert len(figure.axes[0].get_lines()) == 1


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
    figure = diagnostics_figure(read(table), names, counts)
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
    save_figure(figure, tmp_path / "diagnostics.svg")


def test_many_classes_are_drawn_as_minority_and_others():
    names, counts = [f"c{k}" for k in range(9)], np.array([90, 80, 70, 9, 8, 7, 6, 5, 4])
    table = diagnosed(names)
    drawn = lines(diagnostics_figure(read(table), names, counts).axes[0])
    assert list(drawn) == ["3 common classes (86.0% of samples)", "6 minority classes (14.0% of samples)"]
    np.testing.assert_allclose(sum(drawn.values()), 1)
    expected = [sum(float(row[f"gradient_share_c{k}"]) for k in range(3, 9)) for row in table]
    np.testing.assert_allclose(drawn["6 minority classes (14.0% of samples)"], expected)


def test_many_classes_of_one_size_have_no_minority():
    names = [f"c{k}" for k in range(8)]
    drawn = lines(diagnostics_figure(read(diagnosed(names)), names, np.full(8, 5)).axes[0])
    assert list(drawn) == ["8 common classes (100.0% of samples)"]


def test_undefined_shares_leave_a_gap():
    names = ["a", "b"]
    table = diagnosed(names)
    table[2] |= {"gradient_share_a": "nan", "gradient_share_b": ""}
    for values in lines(diagnostics_figure(read(table), names, np.array([3, 1])).axes[0]).values():
        assert np.isnan(values).tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("table", [[], [{"epoch": "0", "gradient_share_a": "1"}]])
def test_a_run_without_diagnostics_says_how_to_get_them(table):
    with pytest.raises(InputError, match=r"effective_errors_spread: train with --trainer\.diagnostics true"):
        diagnostics_figure(read(table), ["a"], np.array([1]))


def test_the_kept_epoch_is_the_first_best():
    scores, losses = (
        [{"epoch": str(k), f"val_{name}": str(value)} for k, value in enumerate(values)]
        for name, values in (("macro_f1", [0.1, "nan", 0.3, 0.3]), ("log_loss", [0.5, 0.2, 0.4]))
    )
    assert best_epoch(read(scores), "macro_f1") == (3, 0.3)
    assert best_epoch(read(losses), "log_loss") == (2, 0.2)
    epoch, value = best_epoch(read(scores[1:2]), "macro_f1")
    assert epoch == 2
    assert np.isnan(value)
