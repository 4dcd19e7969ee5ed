"""The frame of a network on crystal graphs: atoms, convolutions, mean over the crystal, hidden layers, head."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from matcard.models.base import Classifier
from matcard.models.basis import GaussianBasis
from matcard.models.edges import Edges
from matcard.models.embedding import atom_embedding

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.models.options import CrystalModelOptions


class CrystalModel(Classifier):
    """Xie and Grossman's frame (Phys. Rev. Lett. 120, 145301, 2018), whatever the convolution.

    A batch has A atoms, E edges and B crystals: `z` (A,) atomic numbers, `edge_index` (2, E) of neighbours and
    centres (best sorted by centre), `distance` (E,) in angstrom, `batch` (A,) the crystal of each atom, `ptr` (B+1,)
    the first atom of each.

    The embedding is what the last hidden layer gives after its softplus, (B, hidden). With one hidden layer dropout
    stands between it and the head, so the embedding itself is whole; with more, dropout stands after the first.

    Args:
        options: widths and basis.
        num_classes: C.
        atom_table: features of the elements by atomic number; those that matminer ships where not given.
    """

    constants: ClassVar[frozenset[str]] = frozenset({"embedding.features"})

    def __init__(
        self, options: CrystalModelOptions, num_classes: int, atom_table: Float[np.ndarray, "Z 92"] | None = None
    ) -> None:
        super().__init__()
        self.embedding = atom_embedding(options, atom_table)
        self.basis = GaussianBasis(options)
        self.convs = self.make_convolutions(options)
        self.conv_to_fc = nn.Linear(options.width, options.hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.fcs = nn.ModuleList(nn.Linear(options.hidden, options.hidden) for _ in range(options.hidden_layers - 1))
        self.fc_out = nn.Linear(options.hidden, num_classes)

    @abstractmethod
    def make_convolutions(self, options: CrystalModelOptions) -> nn.ModuleList:
        """Make the convolutions, which `convolve` applies."""

    @abstractmethod
    def convolve(self, atoms: Float[Tensor, "A F"], edges: Edges) -> Float[Tensor, "A F"]:
        """Apply the convolutions."""

    def encode(self, batch: Any) -> Float[Tensor, "B H"]:
        """Give the embedding of each crystal.

        Raises:
            InputError: an element without features, an edge between two crystals.
        """
        atoms = self.convolve(self.embedding(batch.z), Edges.of(batch))
        hidden = nn.functional.softplus(
            self.conv_to_fc(nn.functional.softplus(mean_by_crystal(atoms, batch.batch, batch.ptr)))
        )
        for index, layer in enumerate(self.fcs):
            hidden = nn.functional.softplus(layer(self.dropout(hidden) if index == 0 else hidden))
        return hidden

    def classify(self, embedding: Float[Tensor, "B H"]) -> Float[Tensor, "B C"]:
        """Give the logits of embeddings."""
        return self.fc_out(embedding if self.fcs else self.dropout(embedding))  # type: ignore[no-any-return]

    @staticmethod
    def widths(state: Mapping[str, Tensor]) -> dict[str, object]:
        """Give the options that weights were made with, as far as their shapes tell."""
        found: dict[str, object] = {"atom_features": "cgcnn" if "embedding.bias" in state else "learned"}
        if "conv_to_fc.weight" in state:
            found["hidden"], found["width"] = state["conv_to_fc.weight"].shape
        found["convolutions"] = len({key.split(".")[1] for key in state if key.startswith("convs.")})
        found["hidden_layers"] = 1 + len({key.split(".")[1] for key in state if key.startswith("fcs.")})
        return found


def mean_by_crystal(
    atoms: Float[Tensor, "A F"], crystal: Int[Tensor, " A"], ptr: Int[Tensor, " B+1"]
) -> Float[Tensor, "B F"]:
    """Give the mean over the atoms of each crystal."""
    total = atoms.new_zeros(len(ptr) - 1, atoms.shape[1]).index_add(0, crystal, atoms)
    return total / ptr.diff().unsqueeze(1)
