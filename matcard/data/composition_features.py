"""Magpie features of compositions, those of matminer, over all rows at once."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.errors import MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from jaxtyping import Float64, Int

    from matcard.crystals.crystals import Crystals

_STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
# Within these tolerances of NumPy's isclose two elements are equally frequent, as matminer has it.
_RELATIVE, _ABSOLUTE = 1e-5, 1e-8


def magpie_features(formulas: Iterable[str]) -> pd.DataFrame:
    """Describe formulas by statistics of 22 properties of their elements.

    Ward et al., npj Comput. Mater. 2, 16028 (2016). The features are those of matminer's
    `ElementProperty.from_preset("magpie", impute_nan=True)`: each property's minimum, maximum, range, mean, average
    deviation and mode, weighted by amount; what is not known of an element is the mean over all elements. Each
    distinct formula is parsed once.

    Args:
        formulas: text such as Fe2O3 or Zr0.5Cu0.5.

    Returns:
        a row a formula (RangeIndex) and 132 columns, named as matminer does. The row of what is no formula is NaN; a
        `MatcardWarning` says how many there are and which are the first.
    """
    rows = [str(formula) for formula in formulas]
    distinct = {formula: k for k, formula in enumerate(dict.fromkeys(rows))}
    amounts = [_amounts(formula) for formula in distinct]
    wrong = [formula for formula, content in zip(distinct, amounts, strict=True) if not content]
    if wrong:
        warnings.warn(
            f"{len(wrong)} formulas have no Magpie features, since they are no formulas of elements; correct them. "
            f"The first: {', '.join(map(repr, wrong[:3]))}",
            MatcardWarning,
            stacklevel=2,
        )
    symbols, _ = _properties()
    places = [symbols[symbol] for content in amounts for symbol in content]
    weights = [amount for content in amounts for amount in content.values()]
    table = _statistics(np.array(places, dtype=int), np.array(weights), np.array([len(content) for content in amounts]))
    return _frame(table[[distinct[formula] for formula in rows]])


def _amounts(formula: str) -> dict[str, float]:
    """Give how much there is of each element, of no formula nothing."""
    from pymatgen.core.composition import Composition

    try:
        content = Composition(formula).element_composition
        amounts = {element.symbol: float(amount) for element, amount in content.items()}
    except (ValueError, KeyError, AttributeError):
        return {}
    known, _ = _properties()
    return amounts if amounts.keys() <= known.keys() else {}  # pymatgen makes dummies of unknown elements


def magpie_of_crystals(crystals: Crystals) -> pd.DataFrame:
    """Give the same features of the compositions of N crystals."""
    from ase.data import chemical_symbols

    symbols, _ = _properties()
    place_of = np.array([symbols.get(symbol, 0) for symbol in chemical_symbols])
    # Each pair of a crystal and an element of it, once, and how many of its sites have that element.
    pair = np.repeat(np.arange(len(crystals)), crystals.num_sites) * len(place_of) + crystals.numbers
    pairs, amounts = np.unique(pair, return_counts=True)
    counts = np.bincount(pairs // len(place_of), minlength=len(crystals))
    return _frame(_statistics(place_of[pairs % len(place_of)], amounts.astype(float), counts))


def _statistics(
    places: Int[np.ndarray, " P"], weights: Float64[np.ndarray, " P"], counts: Int[np.ndarray, " N"]
) -> Float64[np.ndarray, "N F"]:
    """Compute the statistics of N compositions with P elements in all, `counts` of them each; NaN where none."""
    _, properties = _properties()
    table = np.full((len(counts), properties.shape[1] * len(_STATISTICS)), np.nan)
    counts, some = counts[counts > 0], counts > 0
    if not len(counts):
        return table
    starts = np.cumsum(counts) - counts
    values = properties[places]
    weight = weights[:, None]
    total = np.add.reduceat(weight, starts)
    mean = np.add.reduceat(values * weight, starts) / total
    deviation = np.add.reduceat(np.abs(values - np.repeat(mean, counts, axis=0)) * weight, starts) / total
    lowest, highest = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    most = np.repeat(np.maximum.reduceat(weight, starts), counts, axis=0)
    frequent = np.abs(weight - most) <= _ABSOLUTE + _RELATIVE * most
    mode = np.minimum.reduceat(np.where(frequent, values, np.inf), starts)
    statistics = [lowest, highest, highest - lowest, mean, deviation, mode]
    table[some] = np.stack(statistics, axis=2).reshape(len(counts), -1)
    return table


def _frame(table: Float64[np.ndarray, "N F"]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(table, columns=_featurizer().feature_labels())


@cache
def _properties() -> tuple[dict[str, int], Float64[np.ndarray, "E 22"]]:
    """Give the row of each element, and the elements' properties."""
    from pymatgen.core.periodic_table import Element

    featurizer = _featurizer()
    elements = list(Element)
    table = [featurizer.data_source.get_elemental_properties(elements, name) for name in featurizer.features]
    return {element.symbol: k for k, element in enumerate(elements)}, np.array(table, dtype=np.float64).T


@cache
def _featurizer() -> Any:
    from matminer.featurizers.composition import ElementProperty

    featurizer = ElementProperty.from_preset("magpie", impute_nan=True)
    if tuple(featurizer.stats) != _STATISTICS:
        raise RuntimeError(f"this version of matminer has other Magpie statistics: {featurizer.stats}")
    return featurizer
