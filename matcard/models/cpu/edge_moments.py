"""Batch statistics over edges, from sums over atoms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from matcard.models.cpu.gated_sum import GatedSum
from matcard.models.edges import segment_sum

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.edges import Edges


class BasisMoments(NamedTuple):
    """What the moments need of degrees and distances, which is the same in every layer; float64."""

    in_degree: Float[Tensor, "A 1"]
    out_degree: Float[Tensor, "A 1"]
    mean: Float[Tensor, " G"]
    """Mean of the basis over all edges; the sums below are of the basis less this mean."""
    incoming: Float[Tensor, "A G"]
    """Sum over the edges into each atom."""
    outgoing: Float[Tensor, "A G"]
    """Sum over the edges out of each atom."""
    products: Float[Tensor, "G G"]
    """Sum of outer products over all edges."""

    @classmethod
    def of(cls, basis: Float[Tensor, "E G"], edges: Edges) -> BasisMoments:
        """Sum up the basis of a batch with at least one edge."""
        in_degree = edges.target_ptr.diff().double()[:, None]
        out_degree = edges.source_ptr.diff().double()[:, None]
        incoming = segment_sum(basis, edges.positions, edges.target_ptr).double()
        outgoing = segment_sum(basis, edges.by_source, edges.source_ptr).double()
        mean = incoming.sum(0) / len(basis)
        products = mean.new_zeros(len(mean), len(mean))
        centre = mean.to(basis.dtype)
        for block in edges.blocks:
            centred = basis[block.edges] - centre
            products += centred.t() @ centred
        incoming, outgoing = incoming - in_degree * mean, outgoing - out_degree * mean
        return cls(in_degree, out_degree, mean, incoming, outgoing, products)


@dataclass(frozen=True, eq=False)
class ExpandedEdges:
    """The edges of a batch with their distances expanded; the same in every layer."""

    edges: Edges
    """The edges."""
    basis: Float[Tensor, "E G"]
    """Values of the G Gaussians that are reached."""
    reached: slice
    """Which of all Gaussians these are."""

    @cached_property
    def moments(self) -> BasisMoments:
        """Sums of the basis."""
        return BasisMoments.of(self.basis, self.edges)

    def gated_sum(self, terms: Float[Tensor, "2A 2F"], weight: Float[Tensor, "2F G"]) -> Float[Tensor, "A F"]:
        """Give what `GatedSum` says."""
        return GatedSum.apply(terms, weight, self.basis, self.edges)  # type: ignore[no-any-return, no-untyped-call]


class EdgeMoments(torch.autograd.Function):
    """Mean and covariance over the edges j -> i of x = [v_i, v_j, g_ij], without forming x.

    `apply(atoms (A, F), edges, moments)` gives (K,) and (K, K), K = 2F + G, in float64. The sum over edges of
    a product of two parts of x is the sum over atoms of an atom's vector times what its edges sum to. So the
    statistics of any linear map U x, which are U mean and diag(U cov U'), cost what atoms cost in place of edges.
    Covariances are of centred numbers and in float64, since the terms of that diagonal may cancel.
    """

    @staticmethod
    def forward(
        ctx: Any, atoms: Float[Tensor, "A F"], edges: Edges, basis: BasisMoments
    ) -> tuple[Float[Tensor, " K"], Float[Tensor, "K K"]]:
        """Compute mean and covariance."""
        count = len(edges.source)
        wide = atoms.detach().double()
        target_mean = (basis.in_degree.t() @ wide).squeeze(0) / count
        source_mean = (basis.out_degree.t() @ wide).squeeze(0) / count
        targets, sources = wide - target_mean, wide - source_mean
        narrow_sources = sources.to(atoms.dtype)
        neighbours = segment_sum(narrow_sources, edges.source, edges.target_ptr)

        t, s, g = _parts(atoms.shape[1])
        size = 2 * atoms.shape[1] + len(basis.mean)
        sums = basis.products.new_empty(size, size)
        sums[t, t] = targets.t() @ (basis.in_degree * targets)
        sums[t, s] = targets.t() @ neighbours.double()
        sums[t, g] = targets.t() @ basis.incoming
        sums[s, s] = sources.t() @ (basis.out_degree * sources)
        sums[s, g] = sources.t() @ basis.outgoing
        sums[g, g] = basis.products
        sums[s, t], sums[g, t], sums[g, s] = sums[t, s].t(), sums[t, g].t(), sums[s, g].t()

        ctx.edges, ctx.basis = edges, basis
        ctx.save_for_backward(targets.to(atoms.dtype), narrow_sources, neighbours)
        return torch.cat([target_mean, source_mean, basis.mean]), sums / count

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_mean: Float[Tensor, " K"], grad_covariance: Float[Tensor, "K K"]
    ) -> tuple[Float[Tensor, "A F"], None, None]:
        """Give the gradient of the atoms' vectors."""
        targets, sources, neighbours = ctx.saved_tensors
        edges, basis, dtype = ctx.edges, ctx.basis, targets.dtype
        receivers = segment_sum(targets, edges.target[edges.by_source], edges.source_ptr)
        t, s, g = _parts(targets.shape[1])
        # The x of an edge gets (grad_mean + both (x - mean)) / E. An atom sums that over its edges, in either role.
        count = len(edges.source)
        mean = (grad_mean / count).to(dtype)
        both = ((grad_covariance + grad_covariance.t()) / count).to(dtype)
        grad = torch.addmm(mean[t], targets, both[t, t]).mul_(basis.in_degree.to(dtype))
        grad += torch.addmm(mean[s], sources, both[s, s]).mul_(basis.out_degree.to(dtype))
        grad.addmm_(neighbours, both[s, t]).addmm_(basis.incoming.to(dtype), both[g, t])
        grad.addmm_(receivers, both[t, s]).addmm_(basis.outgoing.to(dtype), both[g, s])
        return grad, None, None


def _parts(width: int) -> tuple[slice, slice, slice]:
    """Give where x holds target, source and basis."""
    return slice(0, width), slice(width, 2 * width), slice(2 * width, None)
