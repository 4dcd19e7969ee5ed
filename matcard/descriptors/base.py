"""What every descriptor gives: fixed numbers a crystal, or the reason why a crystal has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Shaped

    from matcard.crystals.crystals import Crystals

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the crystals done and their number."""


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

    def compute(self, crystals: Crystals, progress: Progress | None = None) -> Numbers:
        """Compute the numbers of N crystals, in their order; rows at fault get their fault as the reason."""


def only_finite(values: Float64[np.ndarray, "N F"], reasons: Shaped[np.ndarray, " N"], why: str) -> Numbers:
    """Give the numbers with a reason for each row that has none yet and is not finite in single precision."""
    with np.errstate(over="ignore"):
        numbers = np.asarray(values, dtype=np.float32).copy()
    sound = np.array([reason is None for reason in reasons], dtype=bool)
    reasons = reasons.copy()
    reasons[sound & ~np.isfinite(numbers).all(axis=1)] = why
    numbers[np.array([reason is not None for reason in reasons], dtype=bool)] = np.nan
    return Numbers(numbers, reasons)
