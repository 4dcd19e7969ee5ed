"""From atomic numbers to the first vector of an atom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from matcard.errors import InputError
from matcard.models.atom_features import WIDTH, atom_features

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.models.crystal import CrystalModelOptions

LAST_ELEMENT = 118


def atom_embedding(
    options: CrystalModelOptions, table: Float[np.ndarray, "Z 92"] | None = None
) -> FeatureEmbedding | nn.Embedding:
    """Make the module that maps atomic numbers (A,) to vectors (A, width)."""
    if options.atom_features == "learned":
        return nn.Embedding(LAST_ELEMENT + 1, options.width)
    return FeatureEmbedding(options.width, table)


class FeatureEmbedding(nn.Linear):
    """A linear map of the features of each element, held as a buffer so that a checkpoint carries them.

    Where they cannot be read (matminer, which ships them, is not installed) the module is made without, for the
    weights that are going to be loaded; used before that, it raises the `InputError` of the reading.

    Args:
        width: numbers an atom is given.
        table: features by atomic number; matminer's where not given.
    """

    features: Tensor

    def __init__(self, width: int, table: Float[np.ndarray, "Z 92"] | None = None) -> None:
        super().__init__(WIDTH, width)
        self._unread: InputError | None = None
        try:
            features = torch.tensor(atom_features() if table is None else table, dtype=self.weight.dtype)
        except InputError as error:
            self._unread = error
            features = self.weight.new_zeros(0, WIDTH)
        self.register_buffer("features", features)

    def forward(self, numbers: Int[Tensor, " A"]) -> Float[Tensor, "A F"]:
        """Map atomic numbers.

        Raises:
            InputError: an element without features, or no features at all.
        """
        if self._unread is not None:
            raise self._unread
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
            self._unread = None
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
