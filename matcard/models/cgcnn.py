"""CGCNN, faithful to the original and several times faster on CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from matcard.models.crystal import CrystalModel
from matcard.models.edge_moments import BasisMoments, EdgeMoments
from matcard.models.gated_sum import GatedSum
from matcard.models.norm import batch_norm, uses_batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.edges import Edges
    from matcard.models.options import CrystalModelOptions


class CGCNN(CrystalModel):
    """Crystal graph convolutional network (Xie and Grossman, Phys. Rev. Lett. 120, 145301, 2018).

    Weights have the names of the original project. See `CrystalModel` for batch and embedding.
    """

    def make_convolutions(self, options: CrystalModelOptions) -> nn.ModuleList:
        """Make the convolutions."""
        return nn.ModuleList(
            CGCNNConv(options.width, len(self.basis.centres)) for _ in range(options.convolutions)
        )

    def convolve(self, atoms: Float[Tensor, "A F"], edges: Edges) -> Float[Tensor, "A F"]:
        """Apply the convolutions."""
        basis, reached = self.basis(edges.distance)
        moments = None
        if atoms.device.type == "cpu" and uses_batch(self.convs[0].bn1, len(basis)):
            moments = BasisMoments.of(basis, edges)
        for convolution in self.convs:
            atoms = convolution(atoms, edges, basis, reached, moments)
        return atoms


class CGCNNConv(nn.Module):
    """v_i' = softplus(v_i + BN2(sum over edges j -> i of sigmoid(f_ij) softplus(c_ij))).

    [f_ij, c_ij] = BN1(W [v_i, v_j, g_ij] + b): batch norm stands on the gate before its activations and on the sum,
    a softplus after the residual. Either batch norm uses its running statistics where a training batch has fewer
    than two rows for it.

    Args:
        width: F, numbers an atom carries.
        num_gaussians: G, numbers an edge carries.
    """

    def __init__(self, width: int, num_gaussians: int) -> None:
        super().__init__()
        self.width = width
        self.fc_full = nn.Linear(2 * width + num_gaussians, 2 * width)
        self.bn1 = nn.BatchNorm1d(2 * width)
        self.bn2 = nn.BatchNorm1d(width)

    def forward(
        self,
        atoms: Float[Tensor, "A F"],
        edges: Edges,
        basis: Float[Tensor, "E g"],
        reached: slice,
        moments: BasisMoments | None,
    ) -> Float[Tensor, "A F"]:
        """Convolve.

        Args:
            atoms: vector of each atom.
            edges: the batch's.
            basis: distances expanded, at the g of G centres `reached`.
            reached: those centres.
            moments: the basis' sums; needed in training on CPUs.
        """
        ends = self.fc_full.weight[:, : 2 * self.width]
        weight = torch.cat([ends, self.fc_full.weight[:, 2 * self.width :][:, reached]], 1)
        if atoms.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                total = self._sum_folded(atoms.to(weight.dtype), edges, basis, weight, moments)
        else:
            total = self._sum_plain(atoms, edges, basis, weight)
        return F.softplus(atoms + batch_norm(self.bn2, total))

    def _sum_plain(
        self, atoms: Float[Tensor, "A F"], edges: Edges, basis: Float[Tensor, "E g"], weight: Float[Tensor, "2F K"]
    ) -> Float[Tensor, "A F"]:
        """Sum the messages as the formula stands, W split by its three arguments."""
        of_target, of_source, of_edge = weight.split([self.width, self.width, basis.shape[1]], 1)
        inner = F.linear(atoms, of_target, self.fc_full.bias)[edges.target]
        inner = inner + F.linear(atoms, of_source)[edges.source] + F.linear(basis, of_edge)
        gate, core = batch_norm(self.bn1, inner).chunk(2, 1)
        message = torch.sigmoid(gate) * F.softplus(core)
        return message.new_zeros(edges.num_atoms, self.width).index_add(0, edges.target, message)

    def _sum_folded(
        self,
        atoms: Float[Tensor, "A F"],
        edges: Edges,
        basis: Float[Tensor, "E g"],
        weight: Float[Tensor, "2F K"],
        moments: BasisMoments | None,
    ) -> Float[Tensor, "A F"]:
        """Sum the messages with BN1 folded into W and b, so that edges are passed over once."""
        weight, bias = self._fold(atoms, edges, weight, moments)
        # GatedSum takes minus the core.
        weight = torch.cat([weight[: self.width], -weight[self.width :]])
        bias = torch.cat([bias[: self.width], -bias[self.width :], torch.zeros_like(bias)])
        of_target, of_source, of_edge = weight.split([self.width, self.width, basis.shape[1]], 1)
        terms = F.linear(atoms, torch.cat([of_target, of_source]), bias).view(-1, 2 * self.width)
        total: Tensor = GatedSum.apply(terms, of_edge, basis, edges)
        return total

    def _fold(
        self,
        atoms: Float[Tensor, "A F"],
        edges: Edges,
        weight: Float[Tensor, "2F K"],
        moments: BasisMoments | None,
    ) -> tuple[Float[Tensor, "2F K"], Float[Tensor, " 2F"]]:
        """Give W and b that include BN1, updating its running statistics in training."""
        norm, bias = self.bn1, self.fc_full.bias
        if moments is None:
            mean, variance = norm.running_mean, norm.running_var
        else:
            mean_x, covariance = EdgeMoments.apply(atoms, edges, moments)
            wide = weight.double()
            mean = wide @ mean_x + bias
            variance = ((wide @ covariance) * wide).sum(1)
            _update(norm, mean.detach(), variance.detach(), len(edges.source))
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        folded = (bias - mean) * scale + norm.bias
        return (weight * scale[:, None]).to(weight.dtype), folded.to(weight.dtype)


@torch.no_grad()
def _update(norm: nn.BatchNorm1d, mean: Float[Tensor, " F"], variance: Float[Tensor, " F"], count: int) -> None:
    """Move running statistics as `nn.BatchNorm1d` does, with the unbiased variance."""
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
    norm.running_var.lerp_((variance * (count / (count - 1))).to(norm.running_var.dtype), norm.momentum)
    norm.num_batches_tracked.add_(1)
