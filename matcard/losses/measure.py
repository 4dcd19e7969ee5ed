"""The invariant of a set of vectors: which one, at what scale, of what order, how reduced; and points remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch

from matcard.errors import InputError
from matcard.invariants import (
    magnitude,
    magnitude_of_groups,
    median_scale,
    similarity,
    spread,
    spread_of_groups,
    weighting,
)
from matcard.losses.base import LossOptions, Part
from matcard.options import Positive, Within

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

MEDIAN_CEILING = 1e6
"""Largest scale that the median heuristic gives: errors that vanish must not blow it up."""
UNIT_FLOOR = 1e-6
"""Embeddings shorter than this count as zero: their direction is noise, and its slope explodes."""


@dataclass(frozen=True)
class MeasureOptions(LossOptions):
    """Which invariant of finite metric spaces is taken, of which distances, at what scale t, and how that changes."""

    scale: float | str = 1.0
    """Factor t on all distances, above 0; or `median`: 1 / the median distance of each batch."""
    scale_schedule: Literal["none", "linear", "log"] = "none"
    """How the scale goes from `scale` in the first epoch to `scale_end` in the last."""
    scale_end: Positive | None = None
    """Scale in the last epoch, where there is a schedule."""
    invariant: Literal["magnitude", "spread"] = "magnitude"
    """Which invariant of finite metric spaces is taken."""
    p: Annotated[float, Within(1, 2, "[]")] = 2.0
    """Distances are l_p, 1 <= p <= 2; beyond 2 the similarity matrix need not be positive definite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale != "median" and self.scale not in (positive := Within(ends="()")):
            raise self.wrong(
                "scale",
                f"{positive}, or 'median'. The scale cannot be learned by descent: the invariants grow with it, so it "
                "runs to 0, or to infinity where the loss divides by them; set it, schedule it (scale_schedule), or "
                "tune it",
            )
        if (self.scale_schedule == "none") != (self.scale_end is None):
            raise self.wrong("scale_end", f"a number with a scale_schedule (now {self.scale_schedule}), and only then")
        if self.scale == "median" and self.scale_schedule != "none":
            raise self.wrong("scale_schedule", "none, since the scale 'median' follows each batch")


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
        self._options = options
        self.on_epoch(0, 1)
        self._spread, self._p = options.invariant == "spread", options.p
        self._order = options.order if isinstance(options, NumberOptions) else 0.0
        self._mean = isinstance(options, ExcessOptions) and options.reduction == "mean"
        self._log = isinstance(options, ExcessOptions) and options.log

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Take the scale of an epoch from the schedule."""
        o = self._options
        if o.scale_end is None or isinstance(o.scale, str):
            self._scale = o.scale
            return
        done = min(1.0, epoch / max(1, epochs - 1))
        if o.scale_schedule == "log":
            self._scale = o.scale ** (1 - done) * o.scale_end**done
        else:
            self._scale = o.scale * (1 - done) + o.scale_end * done

    def scale(self, points: Float[Tensor, "N D"]) -> float | Float[Tensor, ""]:
        """Give the scale t: the epoch's, or 1 / the median distance of the points."""
        if isinstance(self._scale, str):
            return median_scale(points, self._p).clamp_max(MEDIAN_CEILING)
        return self._scale

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


@dataclass(frozen=True)
class MemoryOptions(LossOptions):
    """How many points are remembered."""

    memory: Annotated[int, Within(whole=True)] = 0
    """Points of the epoch's past batches, the newest, that join a batch's; they have no gradient. For small batches."""


class Memory(Part):
    """The newest points of an epoch's batches, first in, first out, with their classes and without gradient.

    Under DDP every process remembers the points of the batch of all of them, so memories are alike. In evaluation
    nothing is joined or remembered.

    Args:
        size: points that are remembered; 0 remembers none.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self._past: tuple[Tensor, Tensor] | None = None

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Forget all points."""
        self._past = None

    def forward(
        self, points: Float[Tensor, "N D"], targets: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        """Give a batch's points and classes followed by those of past batches, the newest first; remember the batch."""
        if not self.size or not self.training:
            return points, targets
        if self._past is not None:
            points, targets = (torch.cat(pair) for pair in zip((points, targets), self._past, strict=True))
        self._past = points[: self.size].detach(), targets[: self.size]
        return points, targets
