"""The figure of a run's diagnostics."""

from __future__ import annotations

import numpy as np
import pytest

from matcard.errors import InputError
from matcard.evaluation import diagnostics_figure, save_figure
from matcard.evaluation.style import BLUE


def rows(names, epochs=6, **changed):
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
    table = rows(names, epochs)
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
    table = rows(names)
    drawn = lines(diagnostics_figure(table, names, counts).axes[0])
    assert list(drawn) == ["3 common classes (86.0% of samples)", "6 minority classes (14.0% of samples)"]
    np.testing.assert_allclose(sum(drawn.values()), 1)
    expected = [sum(float(row[f"gradient_share_c{k}"]) for k in range(3, 9)) for row in table]
    np.testing.assert_allclose(drawn["6 minority classes (14.0% of samples)"], expected)


def test_many_classes_of_one_size_have_no_minority():
    names = [f"c{k}" for k in range(8)]
    drawn = lines(diagnostics_figure(rows(names), names, np.full(8, 5)).axes[0])
    assert list(drawn) == ["8 common classes (100.0% of samples)"]


def test_undefined_shares_leave_a_gap():
    names = ["a", "b"]
    table = rows(names)
    table[2] |= {"gradient_share_a": "nan", "gradient_share_b": ""}
    for values in lines(diagnostics_figure(table, names, np.array([3, 1])).axes[0]).values():
        assert np.isnan(values).tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("table", [[], [{"epoch": "0", "gradient_share_a": "1"}]])
def test_a_run_without_diagnostics_says_how_to_get_them(table):
    with pytest.raises(InputError, match=r"effective_errors_spread: train with --trainer\.diagnostics true"):
        diagnostics_figure(table, ["a"], np.array([1]))
