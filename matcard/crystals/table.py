"""Crystals parted into those that can be used and those that are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

    from matcard.crystals.crystals import Crystals


@dataclass(frozen=True, eq=False)
class CrystalTable:
    """What a source holds: valid crystals, their other columns, and what was left out.

    Attributes:
        crystals: the N crystals that passed `matcard.crystals.validate`.
        columns: N rows (RangeIndex), the source's other columns; those of nested values are not kept.
        left_out: one row for each row of the source that is not in `crystals`: `id`, `where` (file and row),
            `reason`, then the columns of `columns`.
    """

    crystals: Crystals
    columns: pd.DataFrame
    left_out: pd.DataFrame

    def __len__(self) -> int:
        return len(self.crystals)

    @staticmethod
    def of(crystals: Crystals) -> CrystalTable:
        """Part the rows of a source; where rows come from is said by `crystals.where`."""
        sound = crystals.sound
        bad = np.flatnonzero(~sound)
        said = pd.DataFrame(
            {"id": crystals.ids[bad], "where": crystals.where[bad], "reason": crystals.faults[bad]}, dtype=object
        )
        rest = (
            crystals.columns.iloc[bad].reset_index(drop=True).rename(columns={name: f"source_{name}" for name in said})
        )
        usable = crystals.take(np.flatnonzero(sound))
        return CrystalTable(usable, usable.columns, pd.concat([said, rest], axis=1))

    @property
    def ids(self) -> Shaped[np.ndarray, " N"]:
        """The ids of the crystals."""
        return self.crystals.ids

    def take(self, indices: Int[np.ndarray, " M"]) -> CrystalTable:
        """Give the table of the crystals at `indices`; what was left out stays so."""
        return CrystalTable(
            self.crystals.take(indices),
            self.columns.iloc[indices].reset_index(drop=True),
            self.left_out,
        )
