"""What CHGNet knows of a crystal: its atoms' features within the network, as 384 numbers a crystal."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from chgnet.model.model import BatchedGraph, CHGNet
from pymatgen.core.periodic_table import Element
from pymatgen.optimization.neighbors import find_points_in_spheres

from matcard.crystals.crystals import in_runs, is_none
from matcard.descriptors.base import Numbers, only_finite

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int, Int64
    from torch import Tensor

    from matcard.crystals.crystals import Crystals

WEIGHTS = "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"
"""The pretrained model, in the wheel."""
WIDTH = 384
"""Numbers a crystal: three statistics of two layers of 64."""

_REVISION = 1
# Atoms of one forward pass: what the cache of a core holds, or what fills a GPU.
_BATCH_ATOMS = {"cpu": 256, "cuda": 4096}
# An image of an atom nearer than this, in angstrom, is the atom itself.
_SELF_DISTANCE = 1e-8
# Images are counted from -127 to 127 along each lattice vector.
_IMAGES = 256


@dataclass(frozen=True)
class CHGNetNumbers:
    """Mean, deviation and maximum over atoms of the third layer and of the normed last layer of CHGNet 0.3.0.

    Deng et al., Nat. Mach. Intell. 5, 1031 (2023). The network was trained on energies, forces, stresses and magnetic
    moments of relaxations of the Materials Project: it has seen most structures there, no gap and no phase. An atom
    without a neighbour within 6 angstrom stays what its element's embedding says.

    Attributes:
        name: `chgnet`, or `chgnet_random`: the same network with random weights, as a control.
    """

    name: str = "chgnet"
    kept: ClassVar[bool] = True

    @property
    def version(self) -> str:
        """The package, the weights, and this module's own way."""
        weights = "random weights" if self.name == "chgnet_random" else WEIGHTS
        return f"chgnet {version('chgnet')}, {weights}, revision {_REVISION}"

    def compute(self, crystals: Crystals) -> Numbers:
        """Compute the numbers of N crystals, on a GPU where there is one."""
        network = _network(self.name, "cuda" if torch.cuda.is_available() else "cpu")
        reasons = np.full(len(crystals), None, dtype=object)
        for row, (start, end) in enumerate(pairwise(crystals.offsets)):
            heaviest = int(crystals.numbers[start:end].max())
            if heaviest > network.heaviest:
                known = Element.from_Z(network.heaviest).symbol
                reasons[row] = f"CHGNet knows the elements up to {known}, not {Element.from_Z(heaviest).symbol}"
        values = np.full((len(crystals), WIDTH), np.nan)
        rows = np.flatnonzero(is_none(reasons))
        for run in in_runs(crystals.num_sites[rows], network.batch_atoms):
            values[rows[run]] = network.numbers(crystals.take(rows[run]))
        return only_finite(values, "CHGNet's features of it are not finite", reasons)


class _Network:
    """CHGNet on a device, with an ear at two of its layers."""

    def __init__(self, variant: str, device: str) -> None:
        path = files("chgnet").joinpath(WEIGHTS)
        with path.open("rb") as file:
            saved = torch.load(file, map_location="cpu", weights_only=True)["model"]
        # It says on the screen how many parameters it has.
        with redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            # This bias is what the package's own loader sets for these weights.
            self.model = CHGNet(**{**saved["model_args"], "version": "0.3.0", "mlp_out_bias": False})
        if variant == "chgnet":
            self.model.load_state_dict(saved["state_dict"])
        self.model.eval().to(device)
        self.device = device
        self.batch_atoms = _BATCH_ATOMS[device]
        self.heaviest: int = self.model.atom_embedding.embedding.num_embeddings
        self._heard: dict[str, Tensor] = {}
        # The third layer's atoms as it gives them, and the last one's as they come out of the norm after it.
        for key, name in (("third", "atom_conv_layers.2"), ("last", "readout_norm")):
            layer = self.model.get_submodule(name)
            layer.register_forward_hook(lambda _module, _inputs, output, key=key: self._heard.update({key: output}))

    @torch.inference_mode()
    def numbers(self, crystals: Crystals) -> Float[np.ndarray, "N 384"]:
        """Give the numbers of a few crystals, all of them sound."""
        self.model._compute(batched_graph(crystals, self.model, self.device))
        counts = torch.from_numpy(crystals.num_sites).to(self.device)
        pooled = [part for key in ("third", "last") for part in _pooled(self._heard.pop(key), counts)]
        return torch.cat(pooled, dim=1).cpu().numpy()


_network = cache(_Network)


def _pooled(features: Float[Tensor, "A d"], counts: Int[Tensor, " N"]) -> tuple[Float[Tensor, "N d"], ...]:
    """Give mean, deviation and maximum over the atoms of each crystal."""
    mean = torch.segment_reduce(features, "mean", lengths=counts, axis=0)
    apart = (features - mean.repeat_interleave(counts, dim=0)).square()
    deviation = torch.segment_reduce(apart, "mean", lengths=counts, axis=0).sqrt()
    return mean, deviation, torch.segment_reduce(features, "max", lengths=counts, axis=0)


def batched_graph(crystals: Crystals, model: Any, device: str) -> BatchedGraph:
    """Make CHGNet's graph of several crystals, without a loop over their bonds and angles.

    It is what `BatchedGraph.from_graphs` makes of what `CrystalGraphConverter` gives, but for the order of edges:
    directed edges to all atoms within 6 angstrom, each pair of opposite ones being one bond, and angles between the
    bonds of an atom below 3 angstrom. An edge whose opposite lies beyond the radius by rounding is left out.

    Args:
        crystals: sound ones.
        model: a `CHGNet`, for its radii and bases.
        device: where the graph goes.
    """
    center, neighbor, vector, bond, first = _bonds(*_edges(crystals, model.graph_converter.atom_graph_cutoff))
    length = np.linalg.norm(vector, axis=1)
    left, right = _angles(center, length, model.graph_converter.bond_graph_cutoff)

    def tensor(array: np.ndarray, dtype: type) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype)).to(device)

    lengths = tensor(length[first], np.float32)
    directions = tensor(vector / length[:, None], np.float32)
    return BatchedGraph(
        atomic_numbers=tensor(crystals.numbers, np.int32),
        bond_bases_ag=model.bond_basis_expansion.rbf_expansion_ag(lengths),
        bond_bases_bg=model.bond_basis_expansion.rbf_expansion_bg(lengths),
        angle_bases=model.angle_basis_expansion(directions[left], directions[right]),
        batched_atom_graph=tensor(np.stack([center, neighbor], axis=1), np.int32),
        batched_bond_graph=tensor(np.stack([center[left], bond[left], bond[right]], axis=1), np.int32),
        atom_owners=tensor(np.repeat(np.arange(len(crystals)), crystals.num_sites), np.int32),
        directed2undirected=tensor(bond, np.int32),
        atom_positions=[],
        strains=[],
        volumes=[],
    )


def _edges(crystals: Crystals, radius: float) -> tuple[Int64[np.ndarray, ...], ...]:
    """Give centre, neighbour, the neighbour's image, and the vector from neighbour to centre of all directed edges."""
    lattices = np.ascontiguousarray(crystals.lattice, dtype=np.float64)
    wrapped = crystals.frac_coords - np.floor(crystals.frac_coords)
    coords = np.einsum("si,sij->sj", wrapped, np.repeat(lattices, crystals.num_sites, axis=0))
    periodic = np.ones(3, dtype=np.int64)
    parts = []
    for lattice, (begin, end) in zip(lattices, pairwise(crystals.offsets), strict=True):
        sites = coords[begin:end]
        found = find_points_in_spheres(sites, sites, r=radius, pbc=periodic, lattice=lattice)
        center, neighbor, image, length = found
        other = (center != neighbor) | (length > _SELF_DISTANCE)
        center, neighbor, image = center[other], neighbor[other], image[other]
        vector = sites[center] - sites[neighbor] - image @ lattice
        parts.append((center + begin, neighbor + begin, image.astype(np.int64), vector))
    center, neighbor, image, vector = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return center, neighbor, image, vector


def _bonds(
    center: Int64[np.ndarray, " E"],
    neighbor: Int64[np.ndarray, " E"],
    image: Int64[np.ndarray, "E 3"],
    vector: Float64[np.ndarray, "E 3"],
) -> tuple[Int64[np.ndarray, ...], ...]:
    """Join each edge with its opposite: give centre, neighbour and vector, the bond of each edge, an edge of each bond.

    The opposite of an edge to the image R of an atom is the edge from there to the image -R.
    """
    there, back = (((image * sign) + _IMAGES // 2) @ [_IMAGES**2, _IMAGES, 1] for sign in (1, -1))
    forward = (center < neighbor) | ((center == neighbor) & (there > back))
    low, high = np.minimum(center, neighbor), np.maximum(center, neighbor)
    code = (low * (high.max(initial=0) + 1) + high - low) * _IMAGES**3 + np.where(forward, there, back)
    _, first, bond, edges = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    whole = edges[bond] == 2
    if whole.all():
        return center, neighbor, vector, bond, first
    return _bonds(center[whole], neighbor[whole], image[whole], vector[whole])


def _angles(
    center: Int64[np.ndarray, " E"], length: Float64[np.ndarray, " E"], radius: float
) -> tuple[Int64[np.ndarray, " A"], Int64[np.ndarray, " A"]]:
    """Give all ordered pairs of different short edges with the same centre."""
    short = np.flatnonzero(length < radius)
    short = short[np.argsort(center[short], kind="stable")]
    _, start, group, size = np.unique(center[short], return_index=True, return_inverse=True, return_counts=True)
    partners = size[group]
    left = np.repeat(np.arange(len(short)), partners)
    place = np.arange(len(left)) - np.repeat(np.cumsum(partners) - partners, partners)
    right = start[group][left] + place
    different = left != right
    return short[left[different]], short[right[different]]
