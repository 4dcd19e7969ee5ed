"""The convolution's edge work on CPUs: batch statistics from sums over atoms, sums of messages in blocks of edges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from matcard.models.crystal import segment_sum

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.crystal import Block, Edges


class GatedSum(torch.autograd.Function):
    """out_i = sum over edges j -> i of sigmoid(f_ij) softplus(-c_ij), [f_ij, c_ij] = u_i + v_j + W g_ij.

    `apply(terms, weight, basis, edges)` with

    * terms (2A, 2F): u_i in row 2i, v_i in row 2i + 1,
    * weight (2F, G): W,
    * basis (E, G): g, numbers in [0, 1], which get no gradient,

    gives (A, F). That the second half enters with a minus lets one sigmoid serve both factors:
    softplus(-c) = -log sigmoid(c). Nothing of an edge is kept for the backward pass, which computes it again:
    with blocks in cache that is as fast as writing it to memory and reading it back.
    """

    @staticmethod
    def forward(
        ctx: Any,
        terms: Float[Tensor, "2A 2F"],
        weight: Float[Tensor, "2F G"],
        basis: Float[Tensor, "E G"],
        edges: Edges,
    ) -> Float[Tensor, "A F"]:
        """Compute the sums."""
        ctx.save_for_backward(terms, weight, basis)
        ctx.edges = edges
        work = _BlockWork(terms, weight, basis)
        out = terms.new_empty(edges.num_atoms, terms.shape[1] // 2)
        for block in edges.blocks:
            out[block.atoms] = work.sums(block)
        return out.neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "A F"]) -> tuple[Tensor, Tensor, None, None]:
        """Give the gradients of terms and weight."""
        terms, weight, basis = ctx.saved_tensors
        work = _BlockWork(terms, weight, basis)
        grad_terms = terms.new_empty(len(grad), 2, terms.shape[1])
        grad_weight = weight.new_zeros(weight.shape[::-1])
        for block in ctx.edges.blocks:
            work.gradients(block, grad, grad_terms[block.atoms], grad_weight)
        return grad_terms.view(terms.shape), grad_weight.t(), None, None


class _BlockWork:
    """What is done for one block of edges.

    Each array that a method makes is freed when it returns, so the next block's take the same memory, still in cache.
    """

    def __init__(
        self, terms: Float[Tensor, "2A 2F"], weight: Float[Tensor, "2F G"], basis: Float[Tensor, "E G"]
    ) -> None:
        self.terms, self.weight, self.basis = terms.detach(), weight.detach().t(), basis
        width = terms.shape[1] // 2
        self.gate, self.core = slice(0, width), slice(width, None)
        self.lowest = math.log(torch.finfo(terms.dtype).tiny)
        # What |c| cannot exceed. Only where that is large may sigmoid(c) underflow.
        largest = torch.linalg.vector_norm(self.terms, math.inf)
        bound = 2 * largest + torch.linalg.matrix_norm(self.weight, 1)
        self.may_underflow = not bool(bound < -self.lowest)

    def sums(self, block: Block) -> Float[Tensor, "a F"]:
        """Sum sigmoid(f) log sigmoid(c) over the edges into each atom of the block."""
        sigmoids, log_core = self._activate(block)
        return segment_sum(log_core.mul_(sigmoids[:, self.gate]), block.in_order, block.target_ptr)

    def gradients(
        self,
        block: Block,
        grad: Float[Tensor, "A F"],
        grad_terms: Float[Tensor, "a 2 2F"],
        grad_weight: Float[Tensor, "G 2F"],
    ) -> None:
        """Write the gradient of the block's terms and add that of the weight."""
        sigmoids, log_core = self._activate(block)
        # d(-s_f log s_c) / d(f, c) = s_f (s_f - 1) log s_c, s_f (s_c - 1)
        common = grad.index_select(0, block.target).mul_(sigmoids[:, self.gate])
        inner = sigmoids.sub_(1)
        inner[:, self.core].mul_(common)
        inner[:, self.gate].mul_(common.mul_(log_core))
        grad_terms[:, 0] = segment_sum(inner, block.in_order, block.target_ptr)
        grad_terms[:, 1] = segment_sum(inner, block.by_source, block.source_ptr)
        grad_weight.addmm_(self.basis[block.edges].t(), inner)

    def _activate(self, block: Block) -> tuple[Float[Tensor, "e 2F"], Float[Tensor, "e F"]]:
        """Compute sigmoid([f, c]) and log sigmoid(c)."""
        inner = segment_sum(self.terms, block.ends, block.pairs)
        inner.addmm_(self.basis[block.edges], self.weight)
        core = inner[:, self.core].clone() if self.may_underflow else None
        sigmoids = inner.sigmoid_()
        # The logarithm of a whole array takes a tenth of the time that it takes of columns in one.
        log_core = sigmoids[:, self.core].clone(memory_format=torch.contiguous_format).log_()
        if core is not None:
            # log sigmoid(c) is never above c, and equal to it where the sigmoid underflows.
            torch.minimum(log_core.clamp_min_(self.lowest), core, out=log_core)
        return sigmoids, log_core


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
