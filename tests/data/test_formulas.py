"""Formulas are read by what they mean, or refused with what to write."""

from __future__ import annotations

import pandas as pd
import pytest
from ase.data import chemical_symbols
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition

from matcard.data.columns import describe_formulas, element_fractions, read_formula, written


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("CuSO4.5H2O", "Cu S O9 H10"),
        ("CuSO4\u00b75H2O", "Cu S O9 H10"),
        ("CuSO4 * 5 H2O", "Cu S O9 H10"),
        ("FeCl3.6H2O", "Fe Cl3 H12 O6"),
        ("Na2CO3.H2O", "Na2 C O4 H2"),
        ("CaSO4.0.5H2O", "Ca S O4.5 H1"),
        ("CaSO4\u20220.5H2O", "Ca S O4.5 H1"),
        ("MgCl2.6(H2O)", "Mg Cl2 H12 O6"),
        ("KAl(SO4)2.12H2O", "K Al S2 O20 H24"),
        ("Na2O-2SiO2", "Na2 Si2 O5"),
        ("K2O\u22123SiO2", "K2 Si3 O7"),
        ("30Na2O - 70SiO2", "Na60 Si70 O170"),
        ("3CaO\u00b7Al2O3", "Ca3 Al2 O6"),
        ("Fe2O3", "Fe2 O3"),
        ("Fe\u2082O\u2083", "Fe2 O3"),
        ("Zr0.5Cu0.5", "Zr0.5 Cu0.5"),
        ("Ca3[Al(OH)6]2", "Ca3 Al2 O12 H12"),
        ("{[K]2}O", "K2 O"),
        ("Sr0.5H2O", "Sr0.5 H2 O"),
        ("D2O", "H2 O"),
        ("CO", "C O"),
        ("Co", "Co"),
        (" Na Cl ", "Na Cl"),
    ],
)
def test_what_is_read(text, content):
    expected = Composition(content).get_el_amt_dict()
    assert read_formula(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("La2-xSrxCuO4", "neither an element|there is no element|no element Srx|part of it"),
        ("Fe-Ni", "a minus joins oxides alone; write the formula as one, such as FeNi"),
        ("Na2O-", "a part of it is missing"),
        ("Fe0O", "the amount 0 is none above 0"),
        ("Fe0.0O", "none above 0"),
        ("2NaCl", "begins with a number"),
        ("Ca(OH", "brackets do not fit"),
        ("Ca(OH]2", "brackets do not fit"),
        ("Ca()2", "brackets do not fit"),
        ("(2)", "follows no element"),
        ("NH4+", r"'\+' is neither an element nor an amount"),
        ("Xy2", "there is no element Xy"),
        ("CaO.2SiO2", r"'\.2SiO2' is neither"),
        ("fe2o3", "neither an element"),
        ("Fe2,5O4", "',5O4' is neither"),
        ("Fe2.5.5O4", "neither an element"),
        ("nan", "neither an element"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        read_formula(text)
    _, _, faults = element_fractions(pd.Series([text]))
    assert faults[0].startswith(f"{text!r} is no chemical formula (")


AMOUNTS = st.integers(1, 400).map(lambda n: n / 4)
CONTENTS = st.dictionaries(st.sampled_from(chemical_symbols[1:]), AMOUNTS, min_size=1, max_size=6)


@given(CONTENTS)
def test_what_is_written_is_read_as_pymatgen_does(content):
    text = written(content)
    assert read_formula(text) == pytest.approx(content)
    assert read_formula(text) == pytest.approx(Composition(text).get_el_amt_dict())


@given(CONTENTS, st.integers(1, 12), CONTENTS)
def test_parts_joined_by_a_dot_add_up(one, times, other):
    total = dict(one)
    for symbol, amount in other.items():
        total[symbol] = total.get(symbol, 0) + times * amount
    assert read_formula(f"{written(one)}\u00b7{times}{written(other)}") == pytest.approx(total)


@given(st.text(alphabet="NaClO2.5()[]-+*xH \u00b7", max_size=12))
def test_whatever_is_written_has_amounts_above_zero_or_is_refused(text):
    fractions, _, faults = element_fractions(pd.Series([text]))
    if faults[0]:
        assert not fractions.any()
    else:
        assert fractions.min() >= 0
        assert fractions.sum() == pytest.approx(1)


def test_fractions_and_magpie_features_are_of_the_same_content():
    pairs = [("CuSO4.5H2O", "CuSO9H10"), ("Na2O-2SiO2", "Na2Si2O5")]
    for how in ("fractions", "magpie"):
        numbers, _, faults = describe_formulas(pd.Series([text for pair in pairs for text in pair]), how)
        assert faults.tolist() == [None] * 4
        for k in (0, 2):
            assert numbers[k] == pytest.approx(numbers[k + 1])
