"""The convolution's edge work on CPUs, in one pass over blocks of edges that stay in cache."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from matcard.models.edges import segment_sum

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.models.edges import Block, Edges


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
