"""The convolution's edge work in loops over edges that numba compiles, where it is installed.

What is computed of an edge stays in registers and in the nearest cache. Each loop takes the atoms `first` to `last` of
whole crystals, so that several threads may share a batch. Only a band of K of an edge's G Gaussians differs from 0;
`band[e, k]` is the Gaussian `start[e] + k`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from numba import njit
from torch.autograd.function import once_differentiable

from matcard.models.cpu.edge_moments import BasisMoments
from matcard.models.crystal import NEGLIGIBLE

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int, Int32
    from torch import Tensor

    from matcard.models.crystal import Edges, GaussianBasis


_FLOAT = np.float32
_LOWEST = _FLOAT(-87.0)
"""exp of it is float32's smallest normal number."""
_LOG2_E = _FLOAT(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = _FLOAT(0.693359375), _FLOAT(-2.12194440e-4)
# exp(r) = 1 + r + r^2 P(r) for |r| <= ln 2 / 2 (Cephes, expf.c), relative error 1e-7.
_E5, _E4, _E3 = _FLOAT(1.9875691500e-4), _FLOAT(1.3981999507e-3), _FLOAT(8.3334519073e-3)
_E2, _E1, _E0 = _FLOAT(4.1665795894e-2), _FLOAT(1.6666665459e-1), _FLOAT(5.0000001201e-1)
# log(1 + z) = z Q(z) for 0 <= z <= 1, fitted at Chebyshev points; relative error 2e-7.
_L8, _L7, _L6 = _FLOAT(0.005253457929939032), _FLOAT(-0.02958850748836994), _FLOAT(0.07836166769266129)
_L5, _L4, _L3 = _FLOAT(-0.13674770295619965), _FLOAT(0.19111430644989014), _FLOAT(-0.24844369292259216)
_L2, _L1, _L0 = _FLOAT(0.33319270610809326), _FLOAT(-0.49999502301216125), _FLOAT(1.0)
_ONE, _ZERO, _HALF = _FLOAT(1.0), _FLOAT(0.0), _FLOAT(0.5)

_Loop = TypeVar("_Loop", bound=Callable[..., None])


def _compiled(loop: _Loop, **options: Any) -> _Loop:
    """Compile a loop when it is first called; sums may be taken in any order, what is not finite stays so."""
    told = options or {"cache": True, "nogil": True}
    return njit(fastmath={"contract", "nsz", "arcp", "reassoc"}, error_model="numpy", **told)(loop)  # type: ignore[no-any-return]


def _inlined(loop: _Loop) -> _Loop:
    """Compile a loop into each that calls it."""
    return _compiled(loop, inline="always")


FLUSH = 64
"""Atoms after which sums in float32 are added up in float64."""


@_inlined
def _affine(inner: Any, terms: Any, weight: Any, band: Any, start: int, target: int, source: int) -> None:
    """Write u_i + v_j + W g_ij."""
    width = inner.shape[0]
    of_target, of_source = terms[2 * target], terms[2 * source + 1]
    for f in range(width):
        inner[f] = of_target[f] + of_source[f]
    count = band.shape[0]
    for k in range(0, count - 2, 3):  # three at a time: the sum is read and written a third as often
        first, second, third = weight[start + k], weight[start + k + 1], weight[start + k + 2]
        for f in range(width):
            inner[f] += band[k] * first[f] + band[k + 1] * second[f] + band[k + 2] * third[f]
    for k in range(count - count % 3, count):
        value, row = band[k], weight[start + k]
        for f in range(width):
            inner[f] += value * row[f]


@_inlined
def _activate(inner: Any, sigmoids: Any, softplus: Any, power: Any, bits: Any) -> None:
    """Write sigmoid(x) of all numbers and softplus(-x) of their second half."""
    width = softplus.shape[0]
    for f in range(2 * width):
        x = max(-abs(inner[f]), _LOWEST)
        whole = np.floor(x * _LOG2_E + _HALF)
        bits[f] = (np.int32(whole) + np.int32(127)) << np.int32(23)  # 2^whole, as float32 is stored
        r = x - whole * _LN2_HIGH
        r = r - whole * _LN2_LOW
        p = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
        sigmoids[f] = p * r * r + r + _ONE
    for f in range(2 * width):
        small = sigmoids[f] * power[f]  # exp(-|x|)
        power[f] = small
        share = _ONE / (_ONE + small)
        sigmoids[f] = share if inner[f] >= _ZERO else small * share
    for f in range(width):
        z = power[width + f]
        p = ((((_L8 * z + _L7) * z + _L6) * z + _L5) * z + _L4) * z + _L3
        p = ((p * z + _L2) * z + _L1) * z + _L0
        softplus[f] = max(-inner[width + f], _ZERO) + p * z


@_compiled
def gated_sums(
    terms: Any,
    weight: Any,
    band: Any,
    start: Any,
    source: Any,
    pointer: Any,
    first: int,
    last: int,
    out: Any,
    slopes: Any,
) -> None:
    """Write out_i = sum over edges j -> i of sigmoid(f) softplus(-c), [f, c] = u_i + v_j + W g_ij.

    Where `slopes` is not None, which numba knows when it compiles, they are the derivatives of each edge's message by f
    and c.
    """
    width = out.shape[1]
    inner, sigmoids = np.empty(2 * width, _FLOAT), np.empty(2 * width, _FLOAT)
    softplus, bits = np.empty(width, _FLOAT), np.empty(2 * width, np.int32)
    power = bits.view(_FLOAT)
    for i in range(first, last):
        total = out[i]
        for f in range(width):
            total[f] = _ZERO
        for e in range(pointer[i], pointer[i + 1]):
            _affine(inner, terms, weight, band[e], start[e], i, source[e])
            _activate(inner, sigmoids, softplus, power, bits)
            if slopes is None:
                for f in range(width):
                    total[f] += sigmoids[f] * softplus[f]
            else:  # through `power`: written to memory in one run, which is twice as fast as from two loops
                for f in range(width):
                    message = sigmoids[f] * softplus[f]
                    total[f] += message
                    power[f] = message * (_ONE - sigmoids[f])
                for f in range(width):
                    power[width + f] = sigmoids[f] * (sigmoids[width + f] - _ONE)
                slope = slopes[e]
                for f in range(2 * width):
                    slope[f] = power[f]


@_compiled
def gradients(
    grad: Any,
    slopes: Any,
    band: Any,
    start: Any,
    source: Any,
    pointer: Any,
    first: int,
    last: int,
    grad_terms: Any,
    grad_weight: Any,
) -> None:
    """Add the gradients of terms, and in float64 that of the weight."""
    width = grad.shape[1]
    inner, of_target = np.empty(2 * width, _FLOAT), np.empty(2 * width, _FLOAT)
    partial = np.zeros(grad_weight.shape, _FLOAT)
    for i in range(first, last):
        of_sum = grad[i]
        for f in range(2 * width):
            of_target[f] = _ZERO
        for e in range(pointer[i], pointer[i + 1]):
            slope, of_source = slopes[e], grad_terms[2 * source[e] + 1]
            for f in range(width):
                inner[f] = of_sum[f] * slope[f]
            for f in range(width):
                inner[width + f] = of_sum[f] * slope[width + f]
            for f in range(2 * width):
                of_target[f] += inner[f]
            for f in range(2 * width):
                of_source[f] += inner[f]
            for k in range(band.shape[1]):
                value, row = band[e, k], partial[start[e] + k]
                for f in range(2 * width):
                    row[f] += value * inner[f]
        for f in range(2 * width):
            grad_terms[2 * i, f] += of_target[f]
        if (i - first) % FLUSH == FLUSH - 1 or i == last - 1:
            for g in range(partial.shape[0]):
                for f in range(2 * width):
                    grad_weight[g, f] += partial[g, f]
                    partial[g, f] = _ZERO


@_compiled
def band_sums(
    band: Any,
    start: Any,
    source: Any,
    pointer: Any,
    first: int,
    last: int,
    incoming: Any,
    outgoing: Any,
    products: Any,
) -> None:
    """Add in float64 the Gaussians of the edges into and out of each atom, and their outer products."""
    for i in range(first, last):
        into = incoming[i]
        for e in range(pointer[i], pointer[i + 1]):
            out, begin = outgoing[source[e]], start[e]
            for k in range(band.shape[1]):
                value = np.float64(band[e, k])
                into[begin + k] += value
                out[begin + k] += value
                row = products[begin + k]
                for m in range(band.shape[1]):
                    row[begin + m] += value * band[e, m]


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
            band_sums(*edges, first, last, incoming, outgoing, products[number])

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
            gated_sums(*inputs, first, last, out.numpy(), slopes)

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
            gradients(_array(grad), *edges, first, last, grad_terms.numpy(), grad_weight[number])

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
