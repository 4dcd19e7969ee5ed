"""CGCNN's frame with attention over neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch_geometric.nn import TransformerConv

from matcard.models.crystal import CrystalModel
from matcard.models.norm import batch_norm

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.edges import Edges
    from matcard.models.options import TransformerOptions


class CrystalTransformer(CrystalModel):
    """Attention over each atom's neighbours, distances added to keys and values (Shi et al., IJCAI 2021).

    v_i' = softplus(v_i + BN(W v_i + sum over edges j -> i of attention_ij (V v_j + E g_ij))). See `CrystalModel` for
    batch and embedding.
    """

    def make_convolutions(self, options: TransformerOptions) -> nn.ModuleList:  # type: ignore[override]
        """Make the convolutions."""
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
