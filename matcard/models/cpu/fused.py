"""The convolution's edge work in compiled loops over edges, where numba is installed."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from matcard.models.cpu import kernels
from matcard.models.cpu.edge_moments import BasisMoments
from matcard.models.embedding import NEGLIGIBLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Float32, Int, Int32
    from torch import Tensor

    from matcard.models.edges import Edges
    from matcard.models.embedding import GaussianBasis


class Band(NamedTuple):
    """The K Gaussians of each edge that may differ from 0, out of G."""

    values: Float32[np.ndarray, "E K"]
    """Their values; edge e's are those of the Gaussians `start[e]` to `start[e] + K`."""
    start: Int32[np.ndarray, " E"]
    """The first of them, counted among the G."""
    source: Int[np.ndarray, " E"]
    """The neighbour of each edge."""
    pointer: Int[np.ndarray, " A+1"]
    """First edge into each atom, and E."""
    shares: list[tuple[int, int]]
    """Atoms of the crystals that each thread works on, in order; no edge joins two shares."""

    @classmethod
    def of(cls, basis: GaussianBasis, edges: Edges, reached: slice) -> Band:
        """Expand the distances of a batch on the CPU at the centres that are `reached`."""
        centres = basis.centres[reached]
        # In steps, a thousandth more than the Gaussians reach, for what rounding does.
        reach = basis.var * math.sqrt(-math.log(NEGLIGIBLE)) / basis.step + 1e-3
        width = min(len(centres), math.floor(2 * reach) + 1)
        place = (edges.distance - basis.centres[0]) / basis.step - reached.start
        start = (place - reach).ceil_().clamp_(0, len(centres) - width).long()
        exponent = ((edges.distance[:, None] - centres[start[:, None] + torch.arange(width)]) / basis.var).square_()
        values = exponent.neg_().clamp_min_(2 * math.log(NEGLIGIBLE)).exp_()
        values = torch.nn.functional.threshold(values, NEGLIGIBLE, 0.0)
        return cls(
            values.float().numpy(),
            start.int().numpy(),
            edges.source.numpy(),
            edges.target_ptr.numpy(),
            _shares(edges, torch.get_num_threads()),
        )

    def moments(self, gaussians: int) -> BasisMoments:
        """Sum up the Gaussians of a batch with at least one edge."""
        atoms = len(self.pointer) - 1
        incoming, outgoing = np.zeros((2, atoms, gaussians))
        products = np.zeros((len(self.shares), gaussians, gaussians))

        def work(number: int, first: int, last: int) -> None:
            edges = self.values, self.start, self.source, self.pointer
            kernels.band_sums(*edges, first, last, incoming, outgoing, products[number])

        self.share_out(work)
        count = len(self.values)
        in_degree = np.diff(self.pointer).astype(np.float64)[:, None]
        out_degree = np.bincount(self.source, minlength=atoms).astype(np.float64)[:, None]
        mean = incoming.sum(0) / count
        centred = products.sum(0) - count * np.outer(mean, mean)
        arrays = in_degree, out_degree, mean, incoming - in_degree * mean, outgoing - out_degree * mean, centred
        return BasisMoments(*map(torch.from_numpy, arrays))

    def share_out(self, work: Callable[[int, int, int], None]) -> None:
        """Call `work(number, first atom, last atom)` for each share, in a thread each."""
        if len(self.shares) == 1:
            work(0, *self.shares[0])
            return
        with ThreadPoolExecutor(len(self.shares)) as threads:
            for done in [threads.submit(work, k, *share) for k, share in enumerate(self.shares)]:
                done.result()


class FusedGatedSum(torch.autograd.Function):
    """`matcard.models.cpu.edge_moments.GatedSum` of a band of the basis, in float32.

    `apply(terms (2A, 2F), weight (2F, G), band)` gives (A, F). The derivative of each edge's message is kept for the
    backward pass, 8 F bytes an edge: with one pass over memory it is read faster than computed again.
    """

    @staticmethod
    def forward(
        ctx: Any, terms: Float[Tensor, "2A 2F"], weight: Float[Tensor, "2F G"], band: Band
    ) -> Float[Tensor, "A F"]:
        """Compute the sums."""
        width = terms.shape[1] // 2
        out = terms.new_empty(len(terms) // 2, width)
        inputs = _array(terms), _array(weight.t()), band.values, band.start, band.source, band.pointer
        slopes = None
        if any(ctx.needs_input_grad):
            slopes = np.empty((len(band.values), 2 * width), np.float32)

        def work(_: int, first: int, last: int) -> None:
            kernels.gated_sums(*inputs, first, last, out.numpy(), slopes)

        band.share_out(work)
        ctx.slopes, ctx.band, ctx.shape = slopes, band, weight.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "A F"]) -> tuple[Tensor, Tensor, None]:
        """Give the gradients of terms and weight."""
        band = ctx.band
        grad_terms = grad.new_zeros(2 * len(grad), ctx.shape[0])
        grad_weight = np.zeros((len(band.shares), *ctx.shape[::-1]))

        def work(number: int, first: int, last: int) -> None:
            edges = ctx.slopes, band.values, band.start, band.source, band.pointer
            kernels.gradients(_array(grad), *edges, first, last, grad_terms.numpy(), grad_weight[number])

        band.share_out(work)
        return grad_terms, torch.from_numpy(grad_weight.sum(0)).to(grad.dtype).t(), None


@dataclass(frozen=True, eq=False)
class FusedEdges:
    """The edges of a batch with their distances expanded; what `ExpandedEdges` is for the other route."""

    edges: Edges
    """The edges."""
    band: Band
    """Values of their Gaussians."""
    reached: slice
    """Which of all Gaussians some edge reaches."""

    @classmethod
    def of(cls, basis: GaussianBasis, edges: Edges) -> FusedEdges:
        """Expand the distances of a batch on the CPU."""
        reached = basis.reached(edges.distance)
        return cls(edges, Band.of(basis, edges, reached), reached)

    @cached_property
    def moments(self) -> BasisMoments:
        """Sums of the basis."""
        return self.band.moments(self.reached.stop - self.reached.start)

    def gated_sum(self, terms: Float[Tensor, "2A 2F"], weight: Float[Tensor, "2F G"]) -> Float[Tensor, "A F"]:
        """Give what `FusedGatedSum` says."""
        return FusedGatedSum.apply(terms, weight, self.band)  # type: ignore[no-any-return, no-untyped-call]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _shares(edges: Edges, number: int) -> list[tuple[int, int]]:
    """Cut the crystals of a batch into at most `number` runs of about as many edges."""
    ends = edges.target_ptr[edges.ptr[1:]]
    marks = torch.arange(1, number) * (int(ends[-1]) / number)
    cuts = [0, *edges.ptr[1:][torch.searchsorted(ends, marks)].tolist(), edges.num_atoms]
    return [(first, last) for first, last in pairwise(cuts) if last > first]
