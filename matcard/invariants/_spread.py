"""The spread of any order from the row sums of a similarity matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor


def spread_of_sums(sums: Float[Tensor, "*batch n"], order: float) -> Float[Tensor, "*batch"]:
    """Give E_q = (mean_i r_i^(q-1))^(1/(1-q)) with r_i = sums_i / n, for at least one point."""
    return _diversity(
        sums / sums.shape[-1],
        order,
        mean=lambda values: values.mean(-1),
        largest=lambda values: values.amax(-1),
        spread_out=lambda values: values[..., None],
    )


def spread_of_group_sums(
    sums: Float[Tensor, " n"], groups: Int[Tensor, " n"], sizes: Int[Tensor, " G"], order: float
) -> Float[Tensor, " G"]:
    """Give the spread of each group from the row sums within groups, for groups of at least one point."""
    zeros = sums.new_zeros(len(sizes))
    return _diversity(
        sums / sizes[groups],
        order,
        mean=lambda values: zeros.index_add(0, groups, values) / sizes,
        largest=lambda values: zeros.scatter_reduce(0, groups, values, "amax", include_self=False),
        spread_out=lambda values: values[groups],
    )


def _diversity(
    ordinariness: Tensor,
    order: float,
    mean: Callable[[Tensor], Tensor],
    largest: Callable[[Tensor], Tensor],
    spread_out: Callable[[Tensor], Tensor],
) -> Tensor:
    """Give (mean_i r_i^(q-1))^(1/(1-q)) and its limits at 1 and infinity.

    The logarithm is -m - log(mean_i (r_i e^-m)^(q-1)) / (q-1) for any m. With m the largest log r_i, nothing
    overflows at large q, and expm1 with log1p keep every digit near q = 1.

    Args:
        ordinariness: r_i.
        order: q.
        mean: takes the mean over the points of a set.
        largest: takes the largest of the points of a set.
        spread_out: gives each point the number of its set.
    """
    typicality = ordinariness.log()
    if order == 1:
        return (-mean(typicality)).exp()
    if math.isinf(order):
        return (-largest(typicality)).exp()
    top = largest(typicality.detach())
    power = torch.log1p(mean(torch.expm1((order - 1) * (typicality - spread_out(top)))))
    return (-top - power / (order - 1)).exp()
