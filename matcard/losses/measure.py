"""The invariant of a set of vectors: which one, at what scale, of what order, how reduced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch

from matcard.errors import InputError
from matcard.invariants import magnitude, magnitude_of_groups, similarity, spread, spread_of_groups, weighting
from matcard.losses.base import Part
from matcard.losses.scale import Scale, ScaleOptions
from matcard.options import Within

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

UNIT_FLOOR = 1e-6
"""Embeddings shorter than this count as zero: their direction is noise, and its slope explodes."""


@dataclass(frozen=True)
class MeasureOptions(ScaleOptions):
    """Which invariant of finite metric spaces is taken, and of which distances."""

    invariant: Literal["magnitude", "spread"] = "magnitude"
    """Which invariant of finite metric spaces is taken."""
    p: Annotated[float, Within(1, 2, "[]")] = 2.0
    """Distances are l_p, 1 <= p <= 2; beyond 2 the similarity matrix need not be positive definite."""


@dataclass(frozen=True)
class NumberOptions(MeasureOptions):
    """The same where the spread may be of any order."""

    order: Annotated[float, Within(ends="[]")] = 0.0
    """Order of the spread, in [0, inf], `.inf` being YAML's infinity; the magnitude has none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order and self.invariant == "magnitude":
            raise InputError("--loss.order belongs to the spread: the magnitude has none; set --loss.invariant spread")


@dataclass(frozen=True)
class ExcessOptions(NumberOptions):
    """The same where it is taken of vectors beside the origin."""

    reduction: Literal["none", "mean"] = "none"
    """`none`: M as published, which grows with the batch; `mean`: M divided by the number of vectors."""
    log: bool = False
    """Take log(1 + M) in place of M."""


class Measure(Part):
    """The magnitude or the spread of sets of vectors.

    Args:
        options: which invariant, of which order and distances, at what scale, how reduced.
    """

    def __init__(self, options: MeasureOptions) -> None:
        super().__init__()
        self.scale = Scale(options, options.p)
        self._spread, self._p = options.invariant == "spread", options.p
        self._order = options.order if isinstance(options, NumberOptions) else 0.0
        self._mean = isinstance(options, ExcessOptions) and options.reduction == "mean"
        self._log = isinstance(options, ExcessOptions) and options.log

    def excess(self, points: Float[Tensor, "N D"], scale: float | Tensor) -> Float[Tensor, ""]:
        """Give M(A) = |t(A u {0})| - 1, reduced; in float64 until the 1 is taken off."""
        return self._reduced(self._of(precise(points), scale, origin=True) - 1, max(1, len(points))).to(points)

    def excess_of_groups(
        self, points: Float[Tensor, "N D"], groups: Int[Tensor, " N"], scale: float | Tensor
    ) -> Float[Tensor, " G"]:
        """Give M of each group of points, groups being numbered from 0 to G - 1, none of them empty."""
        exact = precise(points)
        if self._spread:
            values = spread_of_groups(exact, groups, scale, self._order, self._p, origin=True)
        else:
            values = magnitude_of_groups(exact, groups, scale, self._p, origin=True)
        return self._reduced(values - 1, groups.bincount()).to(points)

    def number(self, points: Float[Tensor, "N D"], scale: float | Tensor) -> Float[Tensor, ""]:
        """Give the effective number |tA| of points, without the origin."""
        return self._of(precise(points), scale, origin=False).to(points)

    def shares(self, points: Float[Tensor, "N D"], scale: float | Tensor) -> Float[Tensor, " N"]:
        """Give each point's share: the weighting clipped at 0, or 1 / the row sums of the similarity."""
        if self._spread:
            return 1 / similarity(points, scale, self._p).sum(dim=-1)
        return weighting(points, scale, self._p).clamp_min(0)

    def _of(self, points: Tensor, scale: float | Tensor, origin: bool) -> Tensor:
        if self._spread:
            return spread(points, scale, self._order, self._p, origin=origin)
        return magnitude(points, scale, self._p, origin=origin)

    def _reduced(self, value: Tensor, vectors: int | Tensor) -> Tensor:
        value = value / vectors if self._mean else value
        return value.log1p() if self._log else value


def precise(points: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Give points in float64, where the device has it."""
    return points if points.device.type == "mps" else points.double()


def unit(vectors: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
    """Give vectors of length 1; those of (almost) no length become 0, with no gradient; NaN stays NaN."""
    length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return torch.where(length <= UNIT_FLOOR, 0.0, vectors / length.clamp_min(UNIT_FLOOR))
