"""CGCNN, faithful to the original; on CPUs by a faster route to the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from matcard.models.base import batch_norm, running_statistics, update_running, uses_batch
from matcard.models.cpu.edge_moments import EdgeMoments, ExpandedEdges
from matcard.models.crystal import CrystalModel, CrystalModelOptions

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.cpu.fused import FusedEdges
    from matcard.models.crystal import Edges


@dataclass(frozen=True)
class CGCNNOptions(CrystalModelOptions):
    """The crystal graph convolutional network of Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018)."""

    name: Literal["cgcnn"] = "cgcnn"


class CGCNN(CrystalModel[CGCNNOptions]):
    """Crystal graph convolutional network (Xie and Grossman, Phys. Rev. Lett. 120, 145301, 2018).

    Weights have the names of the original project. See `CrystalModel` for batch and embedding.
    """

    fused: type[FusedEdges] | None = None

    def fuse(self) -> bool:
        """Work on edges in compiled loops wherever the network computes in float32 on a CPU, if numba is installed.

        The first call on a machine compiles for some seconds; numba keeps what it compiled.
        """
        if find_spec("numba") is None:
            return False
        from matcard.models.cpu.fused import FusedEdges

        self.fused = FusedEdges
        return True

    def make_convolutions(self, options: CGCNNOptions) -> nn.ModuleList:
        """Make the convolutions."""
        return nn.ModuleList(CGCNNConv(options.width, len(self.basis.centres)) for _ in range(options.convolutions))

    def convolve(self, atoms: Float[Tensor, "A F"], edges: Edges) -> Float[Tensor, "A F"]:
        """Apply the convolutions."""
        expanded: ExpandedEdges | FusedEdges
        if self.fused is not None and atoms.device.type == "cpu" and atoms.dtype == torch.float32 and len(edges.source):
            expanded = self.fused.of(self.basis, edges)
        else:
            reached = self.basis.reached(edges.distance)
            expanded = ExpandedEdges(edges, self.basis(edges.distance, reached), reached)
        for convolution in self.convs:
            atoms = convolution(atoms, expanded)
        return atoms


class CGCNNConv(nn.Module):
    """v_i' = softplus(v_i + BN2(sum over edges j -> i of sigmoid(f_ij) softplus(c_ij))).

    [f_ij, c_ij] = BN1(W [v_i, v_j, g_ij] + b): batch norm stands on the gate before its activations and on the sum,
    a softplus after the residual. Either batch norm uses its running statistics where a training batch has fewer
    than two rows for it.

    On CPUs BN1 is folded into W and b, its statistics computed from sums over atoms (`EdgeMoments`), so that edges
    are passed over once, with a narrow product in place of the wide one (`GatedSum`, or compiled `FusedGatedSum`).
    Elsewhere, where many small
    operations cost more than wide ones, the formula is computed as it stands.

    Args:
        width: F, numbers an atom carries.
        num_gaussians: numbers an edge carries.
    """

    def __init__(self, width: int, num_gaussians: int) -> None:
        super().__init__()
        self.width = width
        self.fc_full = nn.Linear(2 * width + num_gaussians, 2 * width)
        self.bn1 = nn.BatchNorm1d(2 * width)
        self.bn2 = nn.BatchNorm1d(width)

    def forward(self, atoms: Float[Tensor, "A F"], expanded: ExpandedEdges | FusedEdges) -> Float[Tensor, "A F"]:
        """Convolve the vectors of atoms."""
        if atoms.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                total = self.sum_folded(atoms.to(self.fc_full.weight.dtype), expanded)
        else:
            assert isinstance(expanded, ExpandedEdges)
            total = self.sum_plain(atoms, expanded)
        return nn.functional.softplus(atoms + batch_norm(self.bn2, total))

    def sum_plain(self, atoms: Float[Tensor, "A F"], expanded: ExpandedEdges) -> Float[Tensor, "A F"]:
        """Sum the messages as the formula stands, W split by its three arguments."""
        edges = expanded.edges
        of_target, of_source, of_edge = self._split(self._weight(expanded.reached))
        inner = nn.functional.linear(atoms, of_target, self.fc_full.bias)[edges.target]
        inner = inner + nn.functional.linear(atoms, of_source)[edges.source]
        inner = inner + nn.functional.linear(expanded.basis, of_edge)
        gate, core = batch_norm(self.bn1, inner).chunk(2, 1)
        message = torch.sigmoid(gate) * nn.functional.softplus(core)
        return message.new_zeros(len(atoms), self.width).index_add(0, edges.target, message)

    def sum_folded(self, atoms: Float[Tensor, "A F"], expanded: ExpandedEdges | FusedEdges) -> Float[Tensor, "A F"]:
        """Sum the messages with BN1 folded into W and b."""
        weight, bias = self._fold(atoms, expanded)
        # GatedSum takes minus the core.
        weight = torch.cat([weight[: self.width], -weight[self.width :]])
        bias = torch.cat([bias[: self.width], -bias[self.width :], torch.zeros_like(bias)])
        of_target, of_source, of_edge = self._split(weight)
        terms = nn.functional.linear(atoms, torch.cat([of_target, of_source]), bias).view(-1, 2 * self.width)
        return expanded.gated_sum(terms, of_edge)

    def _fold(
        self, atoms: Float[Tensor, "A F"], expanded: ExpandedEdges | FusedEdges
    ) -> tuple[Float[Tensor, "2F K"], Float[Tensor, " 2F"]]:
        """Give W and b that include BN1, updating its running statistics in training."""
        norm, bias, weight = self.bn1, self.fc_full.bias, self._weight(expanded.reached)
        count = len(expanded.edges.source)
        if uses_batch(norm, count):
            of_x, covariance = EdgeMoments.apply(atoms, expanded.edges, expanded.moments)  # type: ignore[no-untyped-call]
            wide = weight.double()
            mean = wide @ of_x + bias
            variance = ((wide @ covariance) * wide).sum(1).clamp_min(0)
            update_running(norm, mean, variance, count)
        else:
            mean, variance = running_statistics(norm)
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        folded = (bias - mean) * scale + norm.bias
        return (weight * scale[:, None]).to(weight.dtype), folded.to(weight.dtype)

    def _weight(self, reached: slice) -> Float[Tensor, "2F K"]:
        """Give W without its columns for Gaussians that no edge reaches."""
        ends, of_edge = self.fc_full.weight.tensor_split([2 * self.width], dim=1)
        return torch.cat([ends, of_edge[:, reached]], 1)

    def _split(self, weight: Float[Tensor, "2F K"]) -> tuple[Tensor, ...]:
        return weight.tensor_split([self.width, 2 * self.width], dim=1)
