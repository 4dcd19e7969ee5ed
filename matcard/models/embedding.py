"""Atoms and distances as a network on crystals sees them first."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int
    from torch import Tensor

    from matcard.models.crystal import CrystalModelOptions

WIDTH = 92
"""Numbers an element: group, period, electronegativity and the like, one-hot by ranges."""


def atom_features() -> Float32[np.ndarray, "Z+1 92"]:
    """Read the features of each element, as matminer ships them (Xie and Grossman, Phys. Rev. Lett. 120, 145301, 2018).

    Returns:
        one row an atomic number, up to the last element of the file; rows of elements that the file lacks,
        and row 0, are zero.
    """
    # Beside matminer's code, which takes seconds to import.
    shipped = files("matminer").joinpath("utils", "data_files", "cgcnn_atom_feature.json")
    rows = {int(number): row for number, row in json.loads(shipped.read_text()).items()}
    table = np.zeros((max(rows) + 1, WIDTH), dtype=np.float32)
    table[list(rows)] = list(rows.values())
    return table


class FeatureEmbedding(nn.Linear):
    """A linear map of the features of each element, held as a buffer so that a checkpoint carries them.

    Args:
        width: numbers an atom is given.
    """

    features: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(WIDTH, width)
        self.register_buffer("features", torch.tensor(atom_features(), dtype=self.weight.dtype))

    def forward(self, numbers: Int[Tensor, " A"]) -> Float[Tensor, "A F"]:
        """Map atomic numbers.

        Raises:
            InputError: an element without features.
        """
        # Looked at before: on a GPU an index out of range ends the process, not the call.
        if len(numbers) and int(numbers.max()) >= len(self.features):
            raise InputError(
                f"there are features for elements 1 to {len(self.features) - 1}, and the batch holds atomic number "
                f"{int(numbers.max())}; use --model.atom_features learned, or leave these crystals out"
            )
        return nn.functional.embedding(numbers, super().forward(self.features))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        saved = state_dict.get(f"{prefix}features")
        if saved is not None:
            self.features = torch.empty_like(saved, dtype=self.weight.dtype, device=self.weight.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


NEGLIGIBLE = 2e-9
"""Gaussians below this are 0: a thirtieth of what float32 resolves beside the nearest centre's, which is near 1; and
products of the smallest would be subnormal numbers, on which CPUs are a hundred times slower."""


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
