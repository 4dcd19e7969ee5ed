"""Points on a line, where both invariants need a sort and no solve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from matcard.invariants._inputs import check_scale, to_double
from matcard.invariants._solve import share

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def magnitude_on_line(
    positions: Float[Tensor, "*batch n"], scale: float | Float[Tensor, "*#batch"] = 1.0
) -> Float[Tensor, "*batch"]:
    """Magnitude of points on a line: 1 + sum over sorted neighbours of tanh(t gap / 2), in O(n log n).

    Args:
        positions: one number a point.
        scale: the dilation t.
    """
    ordered = _sorted(to_double(positions))
    t = check_scale(scale, ordered)
    if ordered.shape[-1] == 0:
        return positions.sum(-1)
    return (1 + torch.tanh(t[..., None] * ordered.diff(dim=-1) / 2).sum(-1)).to(positions)


def _sorted(positions: Tensor) -> Tensor:
    """Sort, and let coincident positions share their gradient evenly."""
    ordered = positions.sort(dim=-1).values
    twin = (ordered.diff(dim=-1, prepend=ordered[..., :1]) > 0).cumsum(-1)
    mean = share(ordered, twin)
    return mean + (ordered - mean).detach()
