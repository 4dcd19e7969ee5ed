"""The frame of a network on crystal graphs: edges, atoms and distances as it sees them, mean, hidden layers, head."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import nn
from typing_extensions import TypeVar

from matcard.errors import InputError
from matcard.models.base import Classifier, ModelOptions
from matcard.options import AtLeastOne, Positive, Share

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int
    from torch import Tensor


BLOCK_EDGES = 1536
"""Edges worked on together on a CPU: at the usual widths what is computed of them stays in a core's cache."""


class Block(NamedTuple):
    """The e edges of some whole crystals of a batch, which stay among these crystals' a atoms.

    Pointers count from the block's first edge.
    """

    atoms: slice
    """Its atoms among the batch's."""
    edges: slice
    """Its edges among the batch's."""
    target: Int[Tensor, " e"]
    """Centre of each edge, counted in the batch."""
    ends: Int[Tensor, " 2e"]
    """2 target and 2 source + 1 of each edge in turn: its rows where two rows an atom hold what it gives as either."""
    pairs: Int[Tensor, " e+1"]
    """First place of each edge in `ends`, and 2e."""
    in_order: Int[Tensor, " e"]
    """The edges, 0 to e - 1."""
    target_ptr: Int[Tensor, " a+1"]
    """First edge into each atom, and e."""
    by_source: Int[Tensor, " e"]
    """The edges in the order of their sources."""
    source_ptr: Int[Tensor, " a+1"]
    """First place in `by_source` of the edges out of each atom, and e."""


@dataclass(frozen=True, eq=False)
class Edges:
    """E directed edges among A atoms of B crystals, on the CPU sorted by target."""

    source: Int[Tensor, " E"]
    """The neighbour."""
    target: Int[Tensor, " E"]
    """The centre, which receives."""
    distance: Float[Tensor, " E"]
    """Length in angstrom."""
    ptr: Int[Tensor, " B+1"]
    """First atom of each crystal, and A."""

    @classmethod
    def of(cls, batch: Any) -> Edges:
        """Take the edges of a batch; on the CPU, which sums over them in order, sorted where they are not.

        Args:
            batch: with `edge_index` (2, E) of neighbours and centres, `distance` (E,), `batch` (A,), `ptr` (B+1,).

        Raises:
            InputError: when an edge joins two crystals (on the CPU: elsewhere a look would make the CPU wait).
        """
        source, target = batch.edge_index
        distance = batch.distance
        if target.device.type != "cpu":
            return cls(source, target, distance, batch.ptr)
        if bool((batch.batch[source] != batch.batch[target]).any()):
            raise InputError("an edge joins two crystals of the batch: expected edge_index to stay within each")
        if bool((target[1:] < target[:-1]).any()):
            order = target.argsort(stable=True)
            source, target, distance = source[order], target[order], distance[order]
        return cls(source, target, distance, batch.ptr)

    @property
    def num_atoms(self) -> int:
        """Number of atoms."""
        return int(self.ptr[-1])

    @cached_property
    def target_ptr(self) -> Int[Tensor, " A+1"]:
        """First edge into each atom, and E."""
        return _pointer(self.target, self.num_atoms)

    @cached_property
    def positions(self) -> Int[Tensor, " E"]:
        """The edges in their order, 0 to E-1."""
        return torch.arange(len(self.target), device=self.target.device)

    @cached_property
    def by_source(self) -> Int[Tensor, " E"]:
        """Edges in the order of their sources."""
        return self.source.argsort(stable=True)

    @cached_property
    def source_ptr(self) -> Int[Tensor, " A+1"]:
        """First place in `by_source` of the edges out of each atom, and E."""
        return _pointer(self.source, self.num_atoms)

    @cached_property
    def blocks(self) -> list[Block]:
        """The batch in blocks of about `BLOCK_EDGES` edges, or one crystal where that has more."""
        atom, edge = self.ptr.tolist(), self.target_ptr[self.ptr].tolist()
        cuts = [0]
        for crystal in range(1, len(atom) - 1):
            if edge[crystal + 1] - edge[cuts[-1]] > BLOCK_EDGES:
                cuts.append(crystal)
        cuts.append(len(atom) - 1)
        ends = torch.stack([2 * self.target, 2 * self.source + 1], dim=1)
        pairs = torch.arange(0, 2 * len(self.target) + 1, 2)
        blocks = []
        for first, last in pairwise(cuts):
            edges = slice(edge[first], edge[last])
            count = edges.stop - edges.start
            pointers = slice(atom[first], atom[last] + 1)
            blocks.append(
                Block(
                    atoms=slice(atom[first], atom[last]),
                    edges=edges,
                    target=self.target[edges],
                    ends=ends[edges].view(-1),
                    pairs=pairs[: count + 1],
                    in_order=self.positions[:count],
                    target_ptr=self.target_ptr[pointers] - edges.start,
                    by_source=self.by_source[edges] - edges.start,
                    source_ptr=self.source_ptr[pointers] - edges.start,
                )
            )
        return blocks


def segment_sum(
    rows: Float[Tensor, "R F"], order: Int[Tensor, " E"], pointer: Int[Tensor, " S+1"]
) -> Float[Tensor, "S F"]:
    """Sum rows by segments: segment s holds `rows[order[pointer[s]:pointer[s + 1]]]`; an empty one gives 0."""
    return nn.functional.embedding_bag(order, rows, pointer, mode="sum", include_last_offset=True)


def _pointer(index: Int[Tensor, " E"], size: int) -> Int[Tensor, " A+1"]:
    return nn.functional.pad(torch.bincount(index, minlength=size).cumsum(0), (1, 0))


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
        total = atoms.new_zeros(len(batch.ptr) - 1, atoms.shape[1]).index_add(0, batch.batch, atoms)
        mean = total / batch.ptr.diff().unsqueeze(1)
        hidden = nn.functional.softplus(self.conv_to_fc(nn.functional.softplus(mean)))
        for index, layer in enumerate(self.fcs):
            hidden = nn.functional.softplus(layer(self.dropout(hidden) if index == 0 else hidden))
        return hidden

    def classify(self, embedding: Float[Tensor, "B H"]) -> Float[Tensor, "B C"]:
        """Give the logits of embeddings."""
        return self.fc_out(embedding if self.fcs else self.dropout(embedding))  # type: ignore[no-any-return]
