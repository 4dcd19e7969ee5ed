"""The scale at which points are told apart: a number, a schedule over the epochs, or the median of each batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from matcard.invariants import median_scale
from matcard.losses.base import LossOptions, Part
from matcard.options import Positive, Within

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

MEDIAN_CEILING = 1e6
"""Largest scale that the median heuristic gives: errors that vanish must not blow it up."""


@dataclass(frozen=True)
class ScaleOptions(LossOptions):
    """The scale t, and how it changes."""

    scale: float | str = 1.0
    """Factor t on all distances, above 0; or `median`: 1 / the median distance of each batch."""
    scale_schedule: Literal["none", "linear", "log"] = "none"
    """How the scale goes from `scale` in the first epoch to `scale_end` in the last."""
    scale_end: Positive | None = None
    """Scale in the last epoch, where there is a schedule."""

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


class Scale(Part):
    """The scale of an epoch, or of a batch.

    Args:
        options: a number, a schedule, or `median`.
        p: the median is one of l_p distances.
    """

    def __init__(self, options: ScaleOptions, p: float) -> None:
        super().__init__()
        self._options, self._p = options, p
        self.on_epoch(0, 1)

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

    def forward(self, points: Float[Tensor, "N D"]) -> float | Float[Tensor, ""]:
        """Give the scale t: the epoch's, or 1 / the median distance of the points."""
        if isinstance(self._scale, str):
            return median_scale(points, self._p).clamp_max(MEDIAN_CEILING)
        return self._scale
