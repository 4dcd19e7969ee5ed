"""Distances as the model sees them: a row of Gaussians."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.crystal import CrystalModelOptions

NEGLIGIBLE = 1e-12
"""Gaussians below this are 0: far under float32's resolution, and their products would be subnormal numbers,
on which CPUs are a hundred times slower."""


class GaussianBasis(nn.Module):
    """Expands distances d to exp(-(d - c)^2 / var^2) at evenly spaced centres c (Xie and Grossman 2018).

    Examples:
        >>> from matcard.models import CGCNNOptions
        >>> len(GaussianBasis(CGCNNOptions()).centres)
        41
    """

    centres: Tensor

    def __init__(self, options: CrystalModelOptions) -> None:
        super().__init__()
        self.step = options.step
        self.var = options.step if options.var is None else options.var
        count = round((options.dmax - options.dmin) / options.step) + 1
        centres = options.dmin + options.step * torch.arange(count, dtype=torch.float64)
        self.register_buffer("centres", centres.to(torch.get_default_dtype()), persistent=False)

    def reached(self, distance: Float[Tensor, " E"]) -> slice:
        """Give the centres where the Gaussians of some distance are not 0.

        Weights for the other centres need not be multiplied. Away from CPUs all centres are given: finding out would
        make the device wait.
        """
        if distance.device.type != "cpu" or not len(distance):
            return slice(0, len(self.centres))
        reach = self.var * math.sqrt(-math.log(NEGLIGIBLE))
        ends = torch.stack([distance.amin() - reach, distance.amax() + reach])
        first, last = torch.searchsorted(self.centres, ends.to(self.centres.dtype)).tolist()
        return slice(first, last)

    @torch.no_grad()
    def forward(self, distance: Float[Tensor, " E"], centres: slice = slice(None)) -> Float[Tensor, "E G"]:
        """Expand distances in angstrom at some of the centres; they get no gradient."""
        exponent = ((distance[:, None] - self.centres[centres]) / self.var).square_().neg_()
        values = exponent.clamp_min_(2 * math.log(NEGLIGIBLE)).exp_()
        return nn.functional.threshold(values, NEGLIGIBLE, 0.0, inplace=True)
