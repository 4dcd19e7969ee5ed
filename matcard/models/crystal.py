"""The frame of a network on crystal graphs: atoms, convolutions, mean over the crystal, hidden layers, head."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import nn
from typing_extensions import TypeVar

from matcard.errors import InputError
from matcard.models.base import Classifier, ModelOptions
from matcard.models.edges import Edges
from matcard.models.embedding import FeatureEmbedding, GaussianBasis
from matcard.options import AtLeastOne, Positive, Share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class CrystalModelOptions(ModelOptions):
    """What every network on crystal graphs takes."""

    takes: ClassVar[tuple[str, ...]] = ("crystals",)

    atom_features: Literal["cgcnn", "learned"] = "cgcnn"
    """What is known of an atom at first: the original's 92 numbers of its element, or an embedding by atomic
    number, learned from scratch."""
    width: AtLeastOne = 64
    """Numbers an atom carries from layer to layer."""
    convolutions: AtLeastOne = 3
    """Number of convolutions."""
    hidden: AtLeastOne = 128
    """Width of the layers after pooling, so of the graph embedding."""
    hidden_layers: AtLeastOne = 1
    """Number of layers after pooling, the head not counted."""
    dmin: float = 0.0
    """Distance of the first Gaussian, in angstrom."""
    dmax: float = 8.0
    """Distance of the last Gaussian, in angstrom; edges longer than that by some `var` say nothing."""
    step: Positive = 0.2
    """Distance from one Gaussian to the next, in angstrom."""
    var: Positive | None = None
    """Width of a Gaussian, exp(-(d - centre)^2 / var^2), in angstrom; `step` where it is not given."""
    dropout: Share = 0.5
    """Share of the embedding's numbers that are dropped before the head in training, as the original classifier
    does; with more than one hidden layer, after the first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dmax <= self.dmin:
            raise InputError(f"--model.dmin {self.dmin}, --model.dmax {self.dmax}: expected dmin < dmax")


LAST_ELEMENT = 118

K = TypeVar("K", bound=CrystalModelOptions, default=Any)


class CrystalModel(Classifier[K]):
    """Xie and Grossman's frame (Phys. Rev. Lett. 120, 145301, 2018), whatever the convolution.

    A batch has A atoms, E edges and B crystals: `z` (A,) atomic numbers, `edge_index` (2, E) of neighbours and
    centres (best sorted by centre), `distance` (E,) in angstrom, `batch` (A,) the crystal of each atom, `ptr` (B+1,)
    the first atom of each.

    The embedding is what the last hidden layer gives after its softplus, (B, hidden). With one hidden layer dropout
    stands between it and the head, so the embedding itself is whole; with more, dropout stands after the first.

    Args:
        options: widths and basis.
        num_classes: C.
    """

    constants: ClassVar[frozenset[str]] = frozenset({"embedding.features"})

    def __init__(self, options: K, num_classes: int) -> None:
        super().__init__()
        learned, width = options.atom_features == "learned", options.width
        self.embedding = nn.Embedding(LAST_ELEMENT + 1, width) if learned else FeatureEmbedding(width)
        self.basis = GaussianBasis(options)
        self.convs = self.make_convolutions(options)
        self.conv_to_fc = nn.Linear(options.width, options.hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.fcs = nn.ModuleList(nn.Linear(options.hidden, options.hidden) for _ in range(options.hidden_layers - 1))
        self.fc_out = nn.Linear(options.hidden, num_classes)

    @abstractmethod
    def make_convolutions(self, options: K) -> nn.ModuleList:
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
