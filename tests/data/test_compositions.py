"""Formulas and components as numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from matcard.data.columns import describe_formulas, element_fractions, proportions
from matcard.data.options import DataOptions
from matcard.data.read import read_labelled
from matcard.errors import InputError


def test_fractions_of_elements():
    fractions, symbols, faults = element_fractions(pd.Series(["Fe2O3", "Zr0.5Cu0.5", "Ca(OH)2"]))
    assert fractions.shape == (3, 118)
    assert (symbols[0], symbols[25], symbols[117]) == ("H", "Fe", "Og")
    assert faults.tolist() == [None] * 3
    for row, content in zip(
        fractions, [{"Fe": 0.4, "O": 0.6}, {"Zr": 0.5, "Cu": 0.5}, {"Ca": 0.2, "O": 0.4, "H": 0.4}], strict=True
    ):
        assert {symbols[k]: row[k] for k in np.flatnonzero(row)} == pytest.approx(content)


@pytest.mark.parametrize("formula", ["", None, np.nan, "Xy2", "not a formula", "Fe-", "D2O"])
def test_what_is_no_formula_is_said(formula):
    fractions, _, faults = element_fractions(pd.Series(["NaCl", formula], dtype=object))
    assert faults[0] is None
    if formula == "D2O":  # deuterium is hydrogen
        assert fractions[1, 0] == pytest.approx(2 / 3)
    else:
        assert "formula" in faults[1]


def test_magpie_features_are_of_the_rows_that_are_formulas():
    numbers, names, faults = describe_formulas(pd.Series(["NaCl", "oh no", "Fe2O3"]), "magpie")
    assert numbers.shape == (3, len(names))
    assert [fault is None for fault in faults] == [True, False, True]
    place = names.index("MagpieData mean Number")
    assert numbers[0, place] == pytest.approx((11 + 17) / 2)
    assert numbers[2, place] == pytest.approx((2 * 26 + 3 * 8) / 5)


def test_proportions_sum_to_one():
    amounts = np.array([[50.0, 50.0], [0.2, 0.6], [0.0, 0.0], [-1.0, 2.0], [1.0, 1.0]])
    faults = np.array([None, None, None, None, "a is missing"], dtype=object)
    shares, told = proportions(amounts, faults)
    np.testing.assert_allclose(shares[:2], [[0.5, 0.5], [0.25, 0.75]])
    assert told.tolist() == [
        None,
        None,
        "it has nothing of any component",
        "a component has a negative amount",
        "a is missing",
    ]
    assert faults[2] is None, "what was given is left as it was"


def test_a_table_of_formulas(tmp_path):
    path = tmp_path / "alloys.csv"
    formulas = ["CuZr", "Fe2O3", "NaCl", "oh no", "MgO", "Al2O3"]
    pd.DataFrame({"composition": formulas, "glass": [1, 0, 0, 1, 0, 1]}).to_csv(path, index=False)
    labelled = read_labelled(DataOptions(source=str(path), target="glass"))
    assert labelled.kind.name == "compositions"
    assert labelled.inputs.shape == (6, 118)
    assert labelled.left_out["reason"].tolist()[0].startswith("'oh no' is no chemical formula")
    named = tmp_path / "named.csv"
    pd.read_csv(path).rename(columns={"composition": "what"}).to_csv(named, index=False)
    options = DataOptions(source=str(named), target="glass", composition_column="what", composition_features="magpie")
    assert read_labelled(options).inputs.shape[1] > 118
    with pytest.raises(InputError, match="no column 'whatever'"):
        read_labelled(DataOptions(source=str(named), target="glass", composition_column="whatever"))
