"""Compositions as numbers: fractions of elements of a formula, proportions of components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from matcard.data.formulas import read_formula, written

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float64, Shaped

LAST_ELEMENT = 118
"""One column an element, so that every source gives the same columns."""
_SMALLEST = -1e-9


def describe_formulas(
    formulas: pd.Series[Any], how: str
) -> tuple[Float64[np.ndarray, "N F"], list[str], Shaped[np.ndarray, " N"]]:
    """Give numbers for each formula, the names of the columns, and what is wrong with a row ("" where nothing is).

    Args:
        formulas: text as `matcard.data.formulas.read_formula` takes it.
        how: `fractions` of the 118 elements, or matminer's `magpie` features.
    """
    fractions, names, faults = element_fractions(formulas)
    if how == "fractions":
        return fractions, names, faults
    from matcard.data.composition_features import magpie_features

    sound = np.flatnonzero(faults == "")
    table = magpie_features([written(read_formula(str(formula))) for formula in formulas.iloc[sound]])
    numbers = np.zeros((len(formulas), table.shape[1]))
    numbers[sound] = np.asarray(table, dtype=np.float64)
    faults[sound[~np.isfinite(numbers[sound]).all(axis=1)]] = "an element of it has no Magpie features"
    return np.nan_to_num(numbers), [str(name) for name in table.columns], faults


def element_fractions(
    formulas: pd.Series[Any],
) -> tuple[Float64[np.ndarray, "N 118"], list[str], Shaped[np.ndarray, " N"]]:
    """Give the atomic fraction of each element, the elements' symbols, and what is wrong with a row."""
    fractions = np.zeros((len(formulas), LAST_ELEMENT))
    faults = np.full(len(formulas), "", dtype=object)
    for i, (formula, missing) in enumerate(zip(formulas, formulas.isna(), strict=True)):
        if missing or not str(formula).strip():
            faults[i] = "the formula is missing"
            continue
        try:
            content = read_formula(str(formula))
        except ValueError as error:
            faults[i] = f"{formula!r} is no chemical formula ({error})"
            continue
        total = sum(content.values())
        for symbol, amount in content.items():
            fractions[i, atomic_numbers[symbol] - 1] = amount / total
    return fractions, chemical_symbols[1 : LAST_ELEMENT + 1], faults


def proportions(
    amounts: Float64[np.ndarray, "N F"], faults: Shaped[np.ndarray, " N"]
) -> tuple[Float64[np.ndarray, "N F"], Shaped[np.ndarray, " N"]]:
    """Divide the amounts of components by their sum, so that per cents, fractions and counts are alike.

    Rows with a negative amount, or with none of anything, are at fault too.
    """
    total = amounts.sum(axis=1)
    faults = faults.copy()
    faults[(faults == "") & (amounts < _SMALLEST).any(axis=1)] = "a component has a negative amount"
    faults[(faults == "") & ~(total > 0)] = "it has nothing of any component"
    return np.maximum(amounts, 0) / np.where(total > 0, total, 1.0)[:, None], faults
