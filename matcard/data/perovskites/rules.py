"""Which compositions are found in which phase, and how far its crystals are distorted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float

    Vector = Float[np.ndarray, " M"]


@dataclass(frozen=True)
class Rule:
    """What there is of a phase.

    Attributes:
        count: crystals of it in the data set.
        log_likelihood: (t, mu), the tolerance and octahedral factors (M,) of compositions -> how readily each
            is met among the crystals of the phase (M,), up to a constant.
        distortion: t -> the distortion about which crystals scatter, as `phases.build` takes it.
    """

    count: int
    log_likelihood: Callable[[Vector, Vector], Vector]
    distortion: Callable[[Vector], Vector]


def _around(x: Vector, centre: float, width: float) -> Vector:
    return np.asarray(-0.5 * np.square((x - centre) / width))


def _below(x: Vector, edge: float, width: float) -> Vector:
    return np.asarray(-np.logaddexp(0.0, (x - edge) / width))


def _tilt(t: Vector) -> Vector:
    """Tilt in radians: rigid octahedra give cos(tilt) ~ t; 0.21 and 0.29 for LaFeO3 and GdFeO3."""
    return np.sqrt(0.68**2 * 2.0 * np.maximum(1.0 - t, 0.0) + 0.06**2)


# As t grows, octahedra tilt about two axes, then about [111], stand straight, let a small B slip off their
# centre, and at last share faces. The ranges overlap as those of real compounds do. A small B (low mu)
# favours the last two.
RULES = {
    "cubic": Rule(1216, lambda t, mu: _around(t, 1.005, 0.030) + 3.0 * mu, np.zeros_like),
    "tetragonal": Rule(
        176,
        lambda t, mu: _around(t - 0.5 * mu, 0.815, 0.020),
        lambda t: 0.045 + 1.2 * np.maximum(t - 1.0, 0.0),
    ),
    "rhombohedral": Rule(800, lambda t, mu: _around(t, 0.975, 0.022), _tilt),
    "orthorhombic": Rule(1708, lambda t, mu: _below(t, 0.955, 0.012), _tilt),
    "hexagonal": Rule(500, lambda t, mu: _below(0.5 * mu - t, -0.835, 0.010), lambda t: np.full_like(t, 0.04)),
}
