"""Magnitude and spread of finite metric spaces, as differentiable functions of tensors.

Leading dimensions are batches of spaces. Everything is computed in float64 and given in the input's precision.
"""

from __future__ import annotations

from matcard.invariants._groups import magnitude_of_groups, spread_of_groups
from matcard.invariants._points import (
    DENSE_LIMIT,
    magnitude,
    magnitude_from_similarity,
    similarity,
    similarity_from_distances,
    spread,
    spread_from_similarity,
    weighting,
    weighting_from_similarity,
)
from matcard.invariants._scales import effective_dimension, magnitude_profile, median_scale
from matcard.invariants._shares import (
    SHARES_LIMIT,
    clipped_weighting,
    inverse_density,
    near_copies,
    shares,
    sum_by_class,
)
from matcard.invariants._solve import JitterLog, jitter_log

__all__ = [
    "DENSE_LIMIT",
    "SHARES_LIMIT",
    "JitterLog",
    "clipped_weighting",
    "effective_dimension",
    "inverse_density",
    "jitter_log",
    "magnitude",
    "magnitude_from_similarity",
    "magnitude_of_groups",
    "magnitude_profile",
    "median_scale",
    "near_copies",
    "shares",
    "similarity",
    "similarity_from_distances",
    "spread",
    "spread_from_similarity",
    "spread_of_groups",
    "sum_by_class",
    "weighting",
    "weighting_from_similarity",
]
