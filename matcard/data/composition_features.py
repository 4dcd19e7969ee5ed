"""Magpie features of compositions, by matminer, once a distinct formula."""

from __future__ import annotations

import warnings
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element

from matcard.data.groups import reduced_formulas
from matcard.errors import MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Float64

    from matcard.crystals.crystals import Crystals


def magpie_features(formulas: Iterable[str]) -> pd.DataFrame:
    """Describe formulas by statistics of 22 properties of their elements.

    Ward et al., npj Comput. Mater. 2, 16028 (2016). The features are those of matminer's
    `ElementProperty.from_preset("magpie", impute_nan=True)`: each property's minimum, maximum, range, mean, average
    deviation and mode, weighted by amount; what is not known of an element is the mean over all elements. A distinct
    formula takes about 2 ms.

    Args:
        formulas: text such as Fe2O3 or Zr0.5Cu0.5.

    Returns:
        a row a formula (RangeIndex) and 132 columns, named as matminer does. The row of what is no formula is NaN; a
        `MatcardWarning` says how many there are and which are the first.
    """
    rows = [str(formula) for formula in formulas]
    features = {formula: _features(formula) for formula in dict.fromkeys(rows)}
    wrong = [formula for formula, values in features.items() if np.isnan(values).all()]
    if wrong:
        warnings.warn(
            f"{len(wrong)} formulas have no Magpie features, since they are no formulas of elements; correct them. "
            f"The first: {', '.join(map(repr, wrong[:3]))}",
            MatcardWarning,
            stacklevel=2,
        )
    labels = _magpie().feature_labels()
    return pd.DataFrame(np.reshape([features[formula] for formula in rows], (-1, len(labels))), columns=labels)


def magpie_of_crystals(crystals: Crystals) -> pd.DataFrame:
    """Give the same features of the compositions of N crystals."""
    return magpie_features(reduced_formulas(crystals))


@lru_cache(maxsize=1 << 16)
def _features(formula: str) -> Float64[np.ndarray, " F"]:
    """Give the features of a formula; NaN of what is none."""
    try:
        composition = Composition(formula).element_composition
        # Of unknown elements pymatgen makes dummies.
        if composition and all(isinstance(element, Element) for element in composition):
            return np.array(_magpie().featurize(composition), dtype=np.float64)
    except (ValueError, KeyError, AttributeError):
        pass
    return np.full(len(_magpie().feature_labels()), np.nan)


@cache
def _magpie() -> Any:
    """Make matminer's featurizer, whose module takes seconds to import."""
    from matminer.featurizers.composition import ElementProperty

    return ElementProperty.from_preset("magpie", impute_nan=True)
