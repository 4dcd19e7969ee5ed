"""Which columns of a table describe a row, and how they become the numbers that a network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float64, Shaped

RowKind = Literal["table", "compositions"]
"""The kinds of data that are rows of a table."""


class Numbers(NamedTuple):
    """N rows as F numbers each, the names of the numbers, and what is wrong with a row ("" where nothing is)."""

    inputs: Float64[np.ndarray, "N F"]
    features: tuple[str, ...]
    faults: Shaped[np.ndarray, " N"]


@dataclass(frozen=True)
class RowColumns:
    """The columns that describe a row or a composition; the same ones for training and for prediction.

    Attributes:
        kind: `table` or `compositions`.
        names: columns of numbers; of compositions the components, whose amounts are divided by their sum.
        formula: column of chemical formulas, in place of `names`.
        described: what is made of a formula, as `--data.composition_features` says.
    """

    kind: RowKind
    names: tuple[str, ...] = ()
    formula: str | None = None
    described: Literal["fractions", "magpie"] = "fractions"

    @property
    def used(self) -> tuple[str, ...]:
        """All columns that are read."""
        return self.names if self.formula is None else (self.formula,)

    @property
    def shares(self) -> bool:
        """Whether the numbers are shares of elements or components, so that a row consists of those above 0."""
        return self.kind == "compositions" and (self.formula is None or self.described == "fractions")

    def numbers(self, frame: pd.DataFrame) -> Numbers:
        """Give the numbers of N rows; each column of `used` must be there."""
        if self.formula is not None:
            from matcard.data.compositions import describe_formulas

            inputs, features, faults = describe_formulas(frame[self.formula], self.described)
            return Numbers(inputs, tuple(features), faults)
        inputs, faults = _numbers(frame, self.names)
        if self.kind == "compositions":
            from matcard.data.compositions import proportions

            inputs, faults = proportions(inputs, faults)
        return Numbers(inputs, self.names, faults)


def _numbers(
    frame: pd.DataFrame, names: tuple[str, ...]
) -> tuple[Float64[np.ndarray, "N F"], Shaped[np.ndarray, " N"]]:
    import pandas as pd

    inputs = np.empty((len(frame), len(names)))
    faults = np.full(len(frame), "", dtype=object)
    for k, name in enumerate(names):
        inputs[:, k] = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        for i in np.flatnonzero(~np.isfinite(inputs[:, k]) & (faults == "")).tolist():
            cell = frame[name].iloc[i]
            faults[i] = f"{name} is missing" if pd.isna(cell) else f"{name} is {cell!r}: a finite number was expected"
    return inputs, faults
