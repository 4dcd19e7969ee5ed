"""The figures of a training: learning, and what the loss did."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from matcard.report.training import best_epoch, learning_figure


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
