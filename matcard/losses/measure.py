"""The invariant of a set of vectors, as the options ask for it: which one, at what scale, how reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from matcard.invariants import (
    magnitude,
    magnitude_of_groups,
    median_scale,
    similarity,
    spread,
    spread_of_groups,
    weighting,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.options import CardinalityOptions

UNIT_FLOOR = 1e-6
"""Embeddings shorter than this count as zero: their direction is noise, and its slope explodes."""

MEDIAN_CEILING = 1e6
"""Largest scale that the median heuristic gives: errors that vanish must not blow it up."""


class Measure:
    """The magnitude or the spread of sets of vectors, at a scale that may follow a schedule or the batch.

    Args:
        options: which invariant, scale, schedule, p, order, reduction and log.
    """

    def __init__(self, options: CardinalityOptions) -> None:
        self.options = options
        self.on_epoch(0, 1)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Take the scale of an epoch from the schedule."""
        o = self.options
        if not isinstance(o.scale, str):
            self._scale = scheduled_scale(o.scale, o.scale_end, o.scale_schedule, epoch, epochs)

    def scale(self, points: Float[Tensor, "N D"]) -> float | Float[Tensor, ""]:
        """Give the scale t: the epoch's, or 1 / the median distance of the points."""
        if self.options.scale == "median":
            return median_scale(points, self.options.p).clamp_max(MEDIAN_CEILING)
        return self._scale

    def excess(self, points: Float[Tensor, "N D"], scale: float | Tensor) -> Float[Tensor, ""]:
        """Give M(A) = |t(A u {0})| - 1, reduced; in float64 until the 1 is taken off."""
        value = self._invariant(points, scale, origin=True) - 1
        return self._reduced(value, max(1, len(points))).to(points)

    def excess_of_groups(
        self, points: Float[Tensor, "N D"], groups: Int[Tensor, " N"], scale: float | Tensor
    ) -> Float[Tensor, " G"]:
        """Give M of each group of points, groups being numbered from 0 to G - 1, none of them empty."""
        o, exact = self.options, precise(points)
        if o.name == "magnitude":
            values = magnitude_of_groups(exact, groups, scale, o.p, origin=True)
        else:
            values = spread_of_groups(exact, groups, scale, o.order, o.p, origin=True)
        return self._reduced(values - 1, groups.bincount()).to(points)

    def number(self, points: Float[Tensor, "N D"], scale: float | Tensor) -> Float[Tensor, ""]:
        """Give the effective number |tA| of points, without the origin."""
        return self._invariant(points, scale, origin=False).to(points)

    def shares(self, points: Float[Tensor, "N D"], scale: float | Tensor) -> Float[Tensor, " N"]:
        """Give each point's share: the weighting clipped at 0, or 1 / the row sums of the similarity."""
        if self.options.name == "magnitude":
            return weighting(points, scale, self.options.p).clamp_min(0)
        return 1 / similarity(points, scale, self.options.p).sum(dim=-1)

    def _invariant(self, points: Tensor, scale: float | Tensor, origin: bool) -> Tensor:
        o, exact = self.options, precise(points)
        if o.name == "magnitude":
            return magnitude(exact, scale, o.p, origin=origin)
        return spread(exact, scale, o.order, o.p, origin=origin)

    def _reduced(self, value: Tensor, vectors: int | Tensor) -> Tensor:
        if self.options.reduction == "mean":
            value = value / vectors
        return value.log1p() if self.options.log else value


def precise(points: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Give points in float64, where the device has it."""
    return points if points.device.type == "mps" else points.double()


def scheduled_scale(start: float, end: float | None, schedule: str, epoch: int, epochs: int) -> float:
    """Give the scale of an epoch: from `start` in the first to `end` in the last, linear or in logarithms."""
    if schedule == "none" or end is None:
        return start
    done = min(1.0, epoch / max(1, epochs - 1))
    if schedule == "log":
        return float(start ** (1 - done) * end**done)
    return float(start * (1 - done) + end * done)


def unit(vectors: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
    """Give vectors of length 1; those of (almost) no length become 0, with no gradient; NaN stays NaN."""
    length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return torch.where(length <= UNIT_FLOOR, 0.0, vectors / length.clamp_min(UNIT_FLOOR))
