"""CGCNN's frame with attention over neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import nn

from matcard.models.base import batch_norm
from matcard.models.crystal import CrystalModel, CrystalModelOptions
from matcard.options import AtLeastOne

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.crystal import Edges


@dataclass(frozen=True)
class TransformerOptions(CrystalModelOptions):
    """CGCNN's frame with attention over neighbours (Shi et al., IJCAI 2021) in place of its convolution."""

    name: Literal["transformer"] = "transformer"
    heads: AtLeastOne = 4
    """Attention heads; they share `width`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_heads(self.width, self.heads)


class CrystalTransformer(CrystalModel[TransformerOptions]):
    """Attention over each atom's neighbours, distances added to keys and values (Shi et al., IJCAI 2021).

    v_i' = softplus(v_i + BN(W v_i + sum over edges j -> i of attention_ij (V v_j + E g_ij))). See `CrystalModel` for
    batch and embedding.
    """

    def make_convolutions(self, options: TransformerOptions) -> nn.ModuleList:
        """Make the convolutions."""
        # Loading PyTorch Geometric takes longer than all else that the command line needs to know this model.
        from torch_geometric.nn import TransformerConv

        self.norms = nn.ModuleList(nn.BatchNorm1d(options.width) for _ in range(options.convolutions))
        each = options.width // options.heads
        num_gaussians = len(self.basis.centres)
        return nn.ModuleList(
            TransformerConv(options.width, each, heads=options.heads, edge_dim=num_gaussians)
            for _ in range(options.convolutions)
        )

    def convolve(self, atoms: Float[Tensor, "A F"], edges: Edges) -> Float[Tensor, "A F"]:
        """Apply the convolutions."""
        basis = self.basis(edges.distance)
        ends = torch.stack([edges.source, edges.target])
        for convolution, norm in zip(self.convs, self.norms, strict=True):
            atoms = nn.functional.softplus(
                atoms + batch_norm(cast("nn.BatchNorm1d", norm), convolution(atoms, ends, basis))
            )
        return atoms
