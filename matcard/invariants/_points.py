"""Similarity, weighting, magnitude and spread of points, and of spaces given as a matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch

from matcard.errors import InputError
from matcard.invariants import _matrix_free
from matcard.invariants._inputs import (
    check_distances,
    check_order,
    check_points,
    check_scale,
    check_similarity,
    restore,
)
from matcard.invariants._similarity import measure, spread_of_sums
from matcard.invariants._solve import magnitude_of_points, share, weights_of_matrix, weights_of_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

Method: TypeAlias = Literal["auto", "line", "dense", "matrix_free"]
# Beyond this many points "auto" keeps no n x n numbers (which would take 0.8 GB each here).
DENSE_LIMIT = 10_000


def similarity(
    points: Float[Tensor, "*batch n d"], scale: float | Float[Tensor, "*#batch"] = 1.0, p: float = 2.0
) -> Float[Tensor, "*batch n n"]:
    """Similarity matrix zeta_ij = exp(-t d_ij) (Leinster 2013, Doc. Math. 18, 857, section 2.1).

    Args:
        points: n points of d coordinates, in any floating precision.
        scale: the dilation t > 0, in units of one over distance; a tensor gives each set of the batch its own.
        p: the exponent of the l_p distance, 1 to 2.

    Returns:
        The matrix, computed in float64 and given in the precision of the points.

    Raises:
        InputError: p outside [1, 2], a scale that is not positive, or points of a wrong shape or dtype.
    """
    x = _prepare(points, scale, p)
    return restore(measure(x, p), points)


def weighting(
    points: Float[Tensor, "*batch n d"],
    scale: float | Float[Tensor, "*#batch"] = 1.0,
    p: float = 2.0,
    *,
    method: Method = "auto",
    tolerance: float = 1e-8,
) -> Float[Tensor, "*batch n"]:
    """Weighting: the w with sum_j zeta_ij w_j = 1 for every i (Leinster 2013, definition 1.1.1).

    Coincident points share evenly the weight that the merged point has.

    Args:
        points: n points of d coordinates.
        scale: the dilation t > 0.
        p: the exponent of the l_p distance, 1 to 2.
        method: see `magnitude`.
        tolerance: see `magnitude`.

    Raises:
        InputError: as `magnitude` does.
    """
    x = _prepare(points, scale, p)
    return restore(_weights(x, p, _route(x, method, tolerance), tolerance), points)


def magnitude(
    points: Float[Tensor, "*batch n d"],
    scale: float | Float[Tensor, "*#batch"] = 1.0,
    p: float = 2.0,
    *,
    origin: bool = False,
    method: Method = "auto",
    tolerance: float = 1e-8,
) -> Float[Tensor, "*batch"]:
    """Magnitude |tX| = sum_i w_i, the sum of the weighting (Leinster 2013, definition 1.1.3).

    It lies between 1 (all points coincide) and n (all are far apart); no points have magnitude 0. Coincident points
    count once. Everything is computed in float64, outside autocast, and given in the precision of the points. A
    matrix that rounding has made indefinite is lifted by a small multiple of the identity, which `jitter_log`
    counts; finite points always give a finite value and gradient; a coordinate that is infinite or not a number
    gives a value that is not a number, in its set of the batch. Derivatives are of the reverse mode: for a Hessian
    take `torch.func.jacrev` twice, not `torch.func.hessian`.

    Args:
        points: n points of d coordinates, in any floating precision.
        scale: the dilation t > 0, in units of one over distance; a tensor gives each set of the batch its own.
        p: the exponent of the l_p distance, 1 to 2.
        origin: whether zero counts as one more point.
        method: "line" (one coordinate: exact, O(n log n)), "dense" (one Cholesky factor), "matrix_free" (conjugate
            gradients, O(n) memory, neither second derivatives nor vmap; p between 1 and 2 takes some 20 times as long
            as 1 or 2) or "auto": line for one coordinate, otherwise dense up to 10,000 points and matrix-free beyond.
        tolerance: of "matrix_free" alone: |1 - zeta w| / sqrt(n) at which the iteration ends. The relative error of
            the magnitude was below it in all that was measured, that of single weights about 1e3 times it.

    Raises:
        InputError: p outside [1, 2], a scale or tolerance that is not positive, points of a wrong shape or dtype, or
            a method that does not exist or does not suit the points.
    """
    x = _prepare(points, scale, p, origin)
    route = _route(x, method, tolerance)
    if x.shape[-2] and route == "line":
        return restore(line_magnitude(x[..., 0]), points)
    if x.shape[-2] and route == "dense":
        return restore(magnitude_of_points(x, p), points)
    return restore(_weights(x, p, route, tolerance).sum(-1), points)


def spread(
    points: Float[Tensor, "*batch n d"],
    scale: float | Float[Tensor, "*#batch"] = 1.0,
    order: float = 0.0,
    p: float = 2.0,
    *,
    origin: bool = False,
    method: Method = "auto",
) -> Float[Tensor, "*batch"]:
    """Spread E_q(tX): the diversity of order q of the uniform distribution on the points.

    E_q = (sum_i 1/n (sum_j zeta_ij / n)^(q-1))^(1/(1-q)), and its limits at q = 1 and q = inf; at q = 0 it is
    sum_i 1 / sum_j zeta_ij (Willerton 2015, Homology Homotopy Appl. 17, 21). It lies between 1 and n, and falls
    as q rises; no points have spread 0. A repeated point counts every time.

    Args:
        points: n points of d coordinates, in any floating precision.
        scale: the dilation t > 0, in units of one over distance; a tensor gives each set of the batch its own.
        order: q, from 0 to infinity.
        p: the exponent of the l_p distance, 1 to 2.
        origin: whether zero counts as one more point.
        method: see `magnitude`; every method is exact here.

    Raises:
        InputError: as `magnitude` does, and an order that is negative or not a number.
    """
    order = check_order(order)
    x = _prepare(points, scale, p, origin)
    route = _route(x, method)
    if x.shape[-2] == 0:
        return restore(x.sum((-2, -1)), points)
    if route == "line":
        sums = line_row_sums(x[..., 0])
    elif route == "dense":
        sums = measure(x, p).sum(-1)
    else:
        sums = _each(lambda one: _matrix_free.row_sums(one, p), x)
    return restore(spread_of_sums(sums, order), points)


def similarity_from_distances(
    distances: Float[Tensor, "*batch n n"], scale: float | Float[Tensor, "*#batch"] = 1.0
) -> Float[Tensor, "*batch n n"]:
    """Similarity matrix exp(-t d_ij) of given distances, which need not come from points.

    Args:
        distances: symmetric, non-negative, zero on the diagonal.
        scale: the dilation t > 0.

    Raises:
        InputError: the matrix is not such a one, or the scale is not positive.
    """
    matrix = check_distances(distances)
    return restore(torch.exp(-check_scale(scale, matrix)[..., None, None] * matrix), distances)


def weighting_from_similarity(similarity: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n"]:
    """Weighting of a given similarity matrix: see `weighting`.

    Args:
        similarity: symmetric, one on the diagonal, entries from 0 to 1, positive definite.

    Raises:
        InputError: the matrix is not such a one.
    """
    return restore(weights_of_matrix(check_similarity(similarity, definite=True)), similarity)


def magnitude_from_similarity(similarity: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """Magnitude of a given similarity matrix: see `magnitude`.

    Args:
        similarity: symmetric, one on the diagonal, entries from 0 to 1, positive definite.

    Raises:
        InputError: the matrix is not such a one.
    """
    return restore(weights_of_matrix(check_similarity(similarity, definite=True)).sum(-1), similarity)


def spread_from_similarity(similarity: Float[Tensor, "*batch n n"], order: float = 0.0) -> Float[Tensor, "*batch"]:
    """Spread of a given similarity matrix: see `spread`.

    Args:
        similarity: symmetric, one on the diagonal, entries from 0 to 1; it need not be positive definite.
        order: q, from 0 to infinity.

    Raises:
        InputError: the matrix is not such a one, or the order is negative or not a number.
    """
    matrix = check_similarity(similarity, definite=False)
    order = check_order(order)
    if matrix.shape[-1] == 0:
        return restore(matrix.sum((-2, -1)), similarity)
    return restore(spread_of_sums(matrix.sum(-1), order), similarity)


def _prepare(points: Tensor, scale: float | Tensor, p: float, origin: bool = False) -> Float[Tensor, "*batch n d"]:
    """Check both, and give the dilated points in float64, with the origin if asked for.

    As t d(x, y) = d(t x, t y), nothing that follows needs the scale, and autograd gives its gradient.
    """
    x = check_points(points, p)
    t = check_scale(scale, x)
    try:
        x = x * t[..., None, None]
    except RuntimeError as error:
        raise InputError(
            f"scale has shape {tuple(t.shape)}; expected one number, or one for each set of points in a batch of "
            f"shape {tuple(x.shape[:-2])}"
        ) from error
    return torch.cat([x, x.new_zeros(*x.shape[:-2], 1, x.shape[-1])], -2) if origin else x


def _route(x: Tensor, method: Method, tolerance: float = 1e-8) -> Method:
    if not tolerance > 0:
        raise InputError(f"tolerance = {tolerance}: expected a positive number, such as 1e-8")
    if method not in get_args(Method):
        raise InputError(f"method = {method!r}: expected one of {', '.join(get_args(Method))}")
    if method == "line" and x.shape[-1] != 1:
        raise InputError(f"method = 'line' with points of {x.shape[-1]} coordinates; expected 1: use method='auto'")
    if method != "auto":
        return method
    if x.shape[-1] == 1:
        return "line"
    return "dense" if x.shape[-2] <= DENSE_LIMIT else "matrix_free"


def _weights(x: Tensor, p: float, route: Method, tolerance: float) -> Float[Tensor, "*batch n"]:
    if x.shape[-2] == 0:
        return x.sum(-1)
    if route == "line":
        return line_weights(x[..., 0])
    if route == "dense":
        return weights_of_points(x, p)
    return _each(lambda one: _matrix_free.weights(one, p, tolerance), x)


def _each(function: Callable[[Tensor], Tensor], x: Tensor) -> Float[Tensor, "*batch n"]:
    """Take the sets of a batch one after the other."""
    sets = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    if not len(sets):
        return x.sum(-1)
    return torch.stack([function(one) for one in sets]).view(x.shape[:-1])


def line_magnitude(positions: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """Give 1 + sum over sorted neighbours of tanh(t gap / 2), for at least one point.

    Source: Leinster and Willerton 2013, Geom. Dedicata 164, 287, theorem 4.
    """
    ordered, _ = _ordered(positions)
    return 1 + torch.tanh(ordered.diff(dim=-1) / 2).sum(-1)


def line_weights(positions: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Give the weighting: half the tanh of both gaps, with an infinite gap at each end; twins share theirs."""
    ordered, twin = _ordered(positions)
    gaps = torch.tanh(ordered.diff(dim=-1) / 2)
    padded = torch.nn.functional.pad(gaps, (1, 1), value=1.0)
    weights = share((padded[..., 1:] + padded[..., :-1]) / 2, twin)
    return weights.gather(-1, positions.argsort(dim=-1, stable=True).argsort(dim=-1))


def line_row_sums(positions: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Give the row sums of the similarity matrix, in the order of the sorted positions."""
    ordered, _ = _ordered(positions)
    decay = torch.exp(-ordered.diff(dim=-1))
    return _decayed_sums(decay) + _decayed_sums(decay.flip(-1)).flip(-1) - 1


def _ordered(positions: Tensor) -> tuple[Tensor, Int[Tensor, "*batch n"]]:
    """Sort; coincident positions form a class of twins and share their gradient evenly."""
    ordered = positions.sort(dim=-1, stable=True).values
    twin = (ordered.diff(dim=-1, prepend=ordered[..., :1]) > 0).cumsum(-1)
    mean = share(ordered, twin)
    return mean + (ordered - mean).detach(), twin


def _decayed_sums(decay: Float[Tensor, "*batch gaps"]) -> Float[Tensor, "*batch n"]:
    """Solve s_i = 1 + decay_i s_(i-1) in log2(n) steps; all terms are positive, so nothing cancels."""
    pad = torch.nn.functional.pad
    decay = pad(decay, (1, 0))
    sums, step = 1 + decay, 2
    decay = pad(decay[..., 1:] * decay[..., :-1], (1, 0))
    while step < decay.shape[-1]:
        sums = sums + pad(decay[..., step:] * sums[..., :-step], (step, 0))
        decay = pad(decay[..., step:] * decay[..., :-step], (step, 0))
        step *= 2
    return sums
