"""Magpie features are matminer's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matminer.featurizers.composition import ElementProperty
from pymatgen.core import Composition
from pymatgen.core.periodic_table import Element

from matcard.crystals.crystals import reduced_formulas
from matcard.crystals.read import from_objects
from matcard.descriptors.simple import magpie_features
from matcard.errors import MatcardWarning

REFERENCE = ElementProperty.from_preset("magpie", impute_nan=True)
SYMBOLS = [Element.from_Z(z).symbol for z in range(1, 119)]


def matminers(formulas):
    return np.array([REFERENCE.featurize(Composition(formula)) for formula in formulas], dtype=float)


def check(formulas):
    table = magpie_features(formulas)
    assert table.shape == (len(formulas), 132)
    assert list(table.columns) == REFERENCE.feature_labels()
    np.testing.assert_allclose(table.to_numpy(), matminers(formulas), rtol=1e-9, atol=1e-9)


def test_formulas_of_all_kinds():
    check(["Fe2O3", "NaCl", "Fe", "Zr0.5Cu0.5", "Ca(OH)2", "Fe2O3", "LiFePO4", "Zr55.2Cu44.8", "U3Og", "DyD2", "K2H2O"])


def test_every_element():
    check([*SYMBOLS, "D2O"])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(SYMBOLS), st.integers(1, 400).map(lambda n: n / 20), min_size=1, max_size=6),
        min_size=1,
        max_size=5,
    )
)
def test_any_composition(contents):
    check(["".join(f"{symbol}{amount}" for symbol, amount in content.items()) for content in contents])


def test_the_mode_of_nearly_equal_amounts_is_the_least_value():
    check(["Fe1.000001O1", "Fe1.1O1", "O1Fe1.000001", "Na1Cl1O1", "Na1Cl1O0.99"])


def test_what_is_no_formula_is_told_and_has_no_features():
    formulas = ["Fe2O3", "nonsense!", "", "Qq2O", "NaCl", "Xa2"]
    with pytest.warns(MatcardWarning, match=r"4 formulas have no Magpie features.*'nonsense!', '', 'Qq2O'"):
        table = magpie_features(formulas)
    assert table.isna().all(axis=1).tolist() == [False, True, True, True, False, True]
    np.testing.assert_allclose(table.to_numpy()[[0, 4]], matminers(["Fe2O3", "NaCl"]))
    assert magpie_features([]).shape == (0, 132)


def test_crystals_have_the_features_of_their_formulas():
    from pymatgen.core import Lattice, Structure

    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    iron = Structure(Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]])
    oxide = Structure(Lattice.cubic(9), ["O", "Ti", "O"], [[0, 0, 0], [0.3, 0.3, 0.3], [0.6, 0.6, 0.6]])
    table = magpie_features(reduced_formulas(from_objects([salt, iron, oxide])))
    np.testing.assert_allclose(table.to_numpy(), matminers(["NaCl", "Fe", "TiO2"]), rtol=1e-9, atol=1e-9)


def test_real_formulas(test_data):
    import pandas as pd

    formulas = pd.read_parquet(test_data / "mp_small_4000.parquet", columns=["formula"])["formula"][:150]
    check(formulas.tolist())
