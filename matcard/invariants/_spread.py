"""The spread of any order from the row sums of a similarity matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def spread_of_sums(sums: Float[Tensor, "*batch n"], order: float) -> Float[Tensor, "*batch"]:
    """Give E_q = (mean_i r_i^(q-1))^(1/(1-q)) with r_i = sums_i / n, for at least one point.

    The logarithm is -m - log(mean_i (r_i e^-m)^(q-1)) / (q-1) for any m. With m the largest log r_i, nothing
    overflows at large q, and expm1 with log1p keep every digit near q = 1.
    """
    typicality = (sums / sums.shape[-1]).log()
    if order == 1:
        return (-typicality.mean(-1)).exp()
    if math.isinf(order):
        return (-typicality.amax(-1)).exp()
    largest = typicality.detach().amax(-1, keepdim=True)
    power = torch.log1p(torch.expm1((order - 1) * (typicality - largest)).mean(-1))
    return (-largest[..., 0] - power / (order - 1)).exp()
