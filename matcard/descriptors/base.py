"""What every descriptor gives: fixed numbers a crystal, or the reason why a crystal has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from matcard.crystals.crystals import is_none

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Shaped

    from matcard.crystals.crystals import Crystals


class Numbers(NamedTuple):
    """F numbers for each of N crystals."""

    values: Float32[np.ndarray, "N F"]
    """NaN in the rows that have a reason."""
    reasons: Shaped[np.ndarray, " N"]
    """Object array: why a crystal has no numbers, or None."""


class Descriptor(Protocol):
    """Makes fixed numbers of crystals."""

    @property
    def name(self) -> str:
        """What it is called in `--data.descriptors`."""

    @property
    def version(self) -> str:
        """What decides the numbers beside the crystal: packages, weights, settings."""

    @property
    def kept(self) -> bool:
        """Whether the numbers take long enough to be kept on disk."""

    def compute(self, crystals: Crystals) -> Numbers:
        """Compute the numbers of N crystals without faults, in their order; of none the width must be right, too."""


def only_finite(
    values: Float64[np.ndarray, "N F"], why: str, reasons: Shaped[np.ndarray, " N"] | None = None
) -> Numbers:
    """Give the numbers with a reason for each row that has none yet and is not finite in single precision."""
    with np.errstate(over="ignore"):
        numbers = np.array(values, dtype=np.float32)
    reasons = np.full(len(numbers), None, dtype=object) if reasons is None else reasons
    reasons[is_none(reasons) & ~np.isfinite(numbers).all(axis=1)] = why
    numbers[~is_none(reasons)] = np.nan
    return Numbers(numbers, reasons)
