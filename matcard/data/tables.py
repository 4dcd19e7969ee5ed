"""What reading a source gives: rows of the same numbers each, with their other columns, or crystals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matcard.crystals.table import CrystalTable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Bool, Int, Shaped

    from matcard.data.options import DataKind
    from matcard.data.row_columns import RowColumns


@dataclass(frozen=True, eq=False)
class ArrayTable:
    """N images, compositions or table rows, and what was left out: what `CrystalTable` is for crystals.

    Attributes:
        ids: (N,) object array of str.
        inputs: (N, F) numbers of rows, (N, channels, height, width) of images.
        columns: N rows (RangeIndex), the source's other columns, the target among them.
        left_out: one row for each row of the source that cannot be used: `id`, `where`, `reason`, then the columns of
            `columns`.
        kind: what a sample is.
        features: names of the F columns of `inputs`; none for images.
        made_of: the columns of the source that `inputs` were made of; None for images.
        test: (N,) whether a sample is of the test part that came with the data; None where none did.
    """

    ids: Shaped[np.ndarray, " N"]
    inputs: Shaped[np.ndarray, "N ..."]
    columns: pd.DataFrame
    left_out: pd.DataFrame
    kind: DataKind
    features: tuple[str, ...] = ()
    made_of: RowColumns | None = None
    test: Bool[np.ndarray, " N"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Int[np.ndarray, " M"]) -> ArrayTable:
        """Give the table of the samples at `indices`; what was left out stays so."""
        return replace(
            self,
            ids=self.ids[indices],
            inputs=self.inputs[indices],
            columns=self.columns.iloc[indices].reset_index(drop=True),
            test=None if self.test is None else self.test[indices],
        )


Table = CrystalTable | ArrayTable
"""What can be labelled and split."""
