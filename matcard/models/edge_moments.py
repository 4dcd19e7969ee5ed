"""Batch statistics over edges, from sums over atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from matcard.models.edges import segment_sum

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.edges import Edges


class BasisMoments(NamedTuple):
    """What the moments need of the distances; the same in every layer. Centred sums, float64."""

    mean: Float[Tensor, " G"]
    incoming: Float[Tensor, "A G"]
    outgoing: Float[Tensor, "A G"]
    products: Float[Tensor, "G G"]
    in_degree: Float[Tensor, "A 1"]
    out_degree: Float[Tensor, "A 1"]

    @classmethod
    def of(cls, basis: Float[Tensor, "E G"], edges: Edges) -> BasisMoments:
        """Sum the basis over the edges into and out of each atom, and its products over all edges."""
        mean = basis.mean(0, dtype=torch.float64)
        in_degree = edges.target_ptr.diff().double()[:, None]
        out_degree = edges.source_ptr.diff().double()[:, None]
        incoming = segment_sum(basis, torch.arange(len(basis)), edges.target_ptr).double()
        outgoing = segment_sum(basis, edges.by_source, edges.source_ptr).double()
        products = mean.new_zeros(len(mean), len(mean))
        centre = mean.to(basis.dtype)
        for block in edges.blocks:
            centred = basis[block.edges] - centre
            products += centred.t() @ centred
        return cls(
            mean, incoming - in_degree * mean, outgoing - out_degree * mean, products, in_degree, out_degree
        )


class EdgeMoments(torch.autograd.Function):
    """Mean and covariance over the edges j -> i of x = [v_i, v_j, g_ij], without forming x.

    `apply(atoms (A, F), edges, basis_moments)` gives (2F+G,) and (2F+G, 2F+G), float64: sums over edges of products
    of the parts of x are products of each atom's vector with what its edges sum to. So the statistics of any linear
    map of x, U mean and diag(U cov U'), cost what A atoms cost in place of E edges, twelve times as many. Covariances
    are of centred numbers and in float64 since those two terms may cancel.
    """

    @staticmethod
    def forward(
        ctx: Any, atoms: Float[Tensor, "A F"], edges: Edges, basis: BasisMoments
    ) -> tuple[Float[Tensor, " K"], Float[Tensor, "K K"]]:
        count = len(edges.source)
        wide = atoms.detach().double()
        centre_in = (basis.in_degree * wide).sum(0) / count
        centre_out = (basis.out_degree * wide).sum(0) / count
        as_target, as_source = wide - centre_in, wide - centre_out
        neighbours = segment_sum(as_source.to(atoms.dtype), edges.source, edges.target_ptr)
        incoming = torch.cat([basis.in_degree * as_target, neighbours, basis.incoming], 1)
        outgoing = torch.cat([basis.out_degree * as_source, basis.outgoing], 1)
        first = as_target.t() @ incoming
        second = as_source.t() @ outgoing
        width = atoms.shape[1]
        covariance = basis.products.new_empty(first.shape[1], first.shape[1])
        covariance[:width] = first
        covariance[width : 2 * width, width:] = second
        covariance[2 * width :, 2 * width :] = basis.products
        covariance[width:, :width] = first[:, width:].t()
        covariance[2 * width :, width : 2 * width] = second[:, width:].t()
        ctx.edges, ctx.basis, ctx.count = edges, basis, count
        ctx.save_for_backward(as_target.to(atoms.dtype), incoming.to(atoms.dtype), outgoing.to(atoms.dtype))
        return torch.cat([centre_in, centre_out, basis.mean]), covariance / count

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad_mean: Float[Tensor, " K"], grad_covariance: Float[Tensor, "K K"]
    ) -> tuple[Float[Tensor, "A F"], None, None]:
        as_target, incoming, outgoing = ctx.saved_tensors
        edges, basis = ctx.edges, ctx.basis
        width = as_target.shape[1]
        # An edge's x gets S (x - mean) / E + dmean / E; an atom sums that over its edges, in each of its roles.
        both = ((grad_covariance + grad_covariance.t()) / ctx.count).to(as_target.dtype)
        receivers = segment_sum(as_target, edges.target[edges.by_source], edges.source_ptr)
        grad = incoming @ both[:, :width]
        grad += torch.cat([receivers, outgoing], 1) @ both[:, width : 2 * width]
        grad += torch.cat([basis.in_degree, basis.out_degree], 1).to(grad.dtype) @ (
            grad_mean[: 2 * width].view(2, width) / ctx.count
        ).to(grad.dtype)
        return grad, None, None
