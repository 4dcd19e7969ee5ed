"""The convolution's edge work on CPUs, in one pass over blocks of edges that stay in cache."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

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
    * basis (E, G): g, which gets no gradient,

    gives (A, F). That the second half enters with a minus lets one sigmoid serve both factors:
    softplus(-c) = -log sigmoid(c). Nothing of an edge is kept for the backward pass, which computes it again:
    with blocks in cache that is faster than writing it to memory and reading it back.
    """

    @staticmethod
    def forward(
        ctx: Any, terms: Float[Tensor, "2A 2F"], weight: Float[Tensor, "2F G"], basis: Float[Tensor, "E G"], edges: Edges
    ) -> Float[Tensor, "A F"]:
        ctx.save_for_backward(terms, weight, basis)
        ctx.edges = edges
        terms, weight = terms.detach(), weight.detach()
        width = terms.shape[1] // 2
        out = terms.new_empty(edges.num_atoms, width)
        for block in edges.blocks:
            sigmoids, log_core = _activate(terms, weight, basis, edges, block)
            message = log_core.mul_(sigmoids[:, :width])
            out[block.atoms] = _by_target(message, block)
        return out.neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "A F"]) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        terms, weight, basis = ctx.saved_tensors
        edges = ctx.edges
        width = grad.shape[1]
        negative = grad.neg()
        grad_terms = terms.new_empty(edges.num_atoms, 2, 2 * width)
        grad_weight = weight.new_zeros(weight.shape[::-1])
        for block in edges.blocks:
            sigmoids, log_core = _activate(terms, weight, basis, edges, block)
            shared = negative.index_select(0, edges.target[block.edges]).mul_(sigmoids[:, :width])
            # d(s_f log s_c) / d(f, c) = s_f (1 - s_f) log s_c, s_f (1 - s_c)
            inner = torch.sub(1, sigmoids, out=sigmoids)
            inner.view(-1, 2, width).mul_(shared.unsqueeze(1))
            inner[:, :width].mul_(log_core)
            grad_terms[block.atoms, 0] = _by_target(inner, block)
            grad_terms[block.atoms, 1] = segment_sum(inner, block.by_source, block.source_ptr)
            grad_weight.addmm_(basis[block.edges].t(), inner)
        return grad_terms.view(terms.shape), grad_weight.t(), None, None


def _activate(
    terms: Float[Tensor, "2A 2F"],
    weight: Float[Tensor, "2F G"],
    basis: Float[Tensor, "E G"],
    edges: Edges,
    block: Block,
) -> tuple[Float[Tensor, "e 2F"], Float[Tensor, "e F"]]:
    """Give sigmoid([f, c]) and log sigmoid(c) of a block's edges."""
    inner = F.embedding_bag(edges.term_rows[block.edges], terms, mode="sum")
    inner.addmm_(basis[block.edges], weight.t())
    core = inner[:, inner.shape[1] // 2 :]
    sigmoids = inner.sigmoid()
    # Below about -87 the sigmoid underflows; log sigmoid(c) is c there, and never above c anywhere.
    smallest = math.log(torch.finfo(inner.dtype).tiny)
    log_core = sigmoids[:, inner.shape[1] // 2 :].log().clamp_min_(smallest)
    return sigmoids, torch.minimum(log_core, core, out=log_core)


def _by_target(rows: Float[Tensor, "e F"], block: Block) -> Float[Tensor, "a F"]:
    return segment_sum(rows, torch.arange(len(rows)), block.target_ptr)
