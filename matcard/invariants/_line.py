"""Points on a line, where both invariants take a sort and no n x n numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from matcard.invariants._solve import share

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def line_magnitude(positions: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """Give 1 + sum over neighbours of tanh(t gap / 2), for at least one point."""
    ordered, _ = _ordered(positions)
    return 1 + torch.tanh(ordered.diff(dim=-1) / 2).sum(-1)


def line_weights(positions: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Give the weighting: half the tanh of both gaps, with an infinite gap at each end; twins share theirs."""
    ordered, twin = _ordered(positions)
    gaps = torch.tanh(ordered.diff(dim=-1) / 2)
    padded = torch.nn.functional.pad(gaps, (1, 1), value=1.0)
    weights = share((padded[..., 1:] + padded[..., :-1]) / 2, twin)
    return weights.gather(-1, positions.argsort(dim=-1, stable=True).argsort(dim=-1))


def line_row_sums(positions: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Give the row sums of the similarity matrix, in the order of the sorted positions."""
    ordered, _ = _ordered(positions)
    decay = torch.exp(-ordered.diff(dim=-1))
    return _decayed_sums(decay) + _decayed_sums(decay.flip(-1)).flip(-1) - 1


def _ordered(positions: Tensor) -> tuple[Tensor, Int[Tensor, "*batch n"]]:
    """Sort; coincident positions form a class of twins and share their gradient evenly."""
    ordered = positions.sort(dim=-1, stable=True).values
    twin = (ordered.diff(dim=-1, prepend=ordered[..., :1]) > 0).cumsum(-1)
    mean = share(ordered, twin)
    return mean + (ordered - mean).detach(), twin


def _decayed_sums(decay: Float[Tensor, "*batch gaps"]) -> Float[Tensor, "*batch n"]:
    """Solve s_i = 1 + decay_i s_(i-1) in log2(n) steps; all terms are positive, so nothing cancels."""
    pad = torch.nn.functional.pad
    decay = pad(decay, (1, 0))
    sums, step = 1 + decay, 2
    decay = pad(decay[..., 1:] * decay[..., :-1], (1, 0))
    while step < decay.shape[-1]:
        sums = sums + pad(decay[..., step:] * sums[..., :-step], (step, 0))
        decay = pad(decay[..., step:] * decay[..., :-step], (step, 0))
        step *= 2
    return sums
