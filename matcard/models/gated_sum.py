"""The convolution's edge work on CPUs, in one pass over blocks of edges that stay in cache."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
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
        activations = _Activations(terms.detach(), weight.detach(), basis, edges)
        width = terms.shape[1] // 2
        out = terms.new_empty(edges.num_atoms, width)
        for block in edges.blocks:
            sigmoids, log_core = activations(block)
            message = log_core.mul_(sigmoids[:, :width])
            out[block.atoms] = segment_sum(message, edges.positions[: len(message)], block.target_ptr)
        return out.neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "A F"]) -> tuple[Tensor, Tensor, None, None]:
        """Give the gradients of terms and weight."""
        terms, weight, basis = ctx.saved_tensors
        edges = ctx.edges
        activations = _Activations(terms, weight, basis, edges)
        width = grad.shape[1]
        grad_terms = terms.new_empty(edges.num_atoms, 2, 2 * width)
        grad_weight = weight.new_zeros(weight.shape[::-1])
        for block in edges.blocks:
            sigmoids, log_core = activations(block)
            # d(-s_f log s_c) / d(f, c) = s_f (s_f - 1) log s_c, s_f (s_c - 1)
            common = grad.index_select(0, edges.target[block.edges]).mul_(sigmoids[:, :width])
            inner = sigmoids.sub_(1)
            inner[:, width:].mul_(common)
            inner[:, :width].mul_(common.mul_(log_core))
            grad_terms[block.atoms, 0] = segment_sum(inner, edges.positions[: len(inner)], block.target_ptr)
            grad_terms[block.atoms, 1] = segment_sum(inner, block.by_source, block.source_ptr)
            grad_weight.addmm_(basis[block.edges].t(), inner)
        return grad_terms.view(terms.shape), grad_weight.t(), None, None


class _Activations:
    """Computes sigmoid([f, c]) (e, 2F) and log sigmoid(c) (e, F) of the edges of a block."""

    def __init__(
        self,
        terms: Float[Tensor, "2A 2F"],
        weight: Float[Tensor, "2F G"],
        basis: Float[Tensor, "E G"],
        edges: Edges,
    ) -> None:
        self.terms, self.weight, self.basis, self.edges = terms, weight.t(), basis, edges
        self.core = slice(terms.shape[1] // 2, None)
        self.lowest = math.log(torch.finfo(terms.dtype).tiny)
        # What c cannot exceed. Only where that is large may sigmoid(c) underflow.
        bound = 2 * terms.abs().amax() + weight.abs().sum(1).amax()
        self.may_underflow = not bool(bound < -self.lowest)

    def __call__(self, block: Block) -> tuple[Float[Tensor, "e 2F"], Float[Tensor, "e F"]]:
        inner = nn.functional.embedding_bag(self.edges.term_rows[block.edges], self.terms, mode="sum")
        inner.addmm_(self.basis[block.edges], self.weight)
        core = inner[:, self.core].clone() if self.may_underflow else None
        sigmoids = inner.sigmoid_()
        # The logarithm of a whole array takes a tenth of the time of that of its columns.
        log_core = sigmoids[:, self.core].contiguous().log_()
        if core is not None:
            # log sigmoid(c) is never above c, and equal to it where the sigmoid underflows.
            torch.minimum(log_core.clamp_min_(self.lowest), core, out=log_core)
        return sigmoids, log_core
