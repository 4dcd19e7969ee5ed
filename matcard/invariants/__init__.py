"""Magnitude and spread of finite metric spaces, as differentiable tensor functions."""

from __future__ import annotations

from matcard.invariants._line import magnitude_on_line
from matcard.invariants._points import magnitude, median_scale, similarity, spread, weighting
from matcard.invariants._solve import jitter_log

__all__ = [
    "jitter_log",
    "magnitude",
    "magnitude_on_line",
    "median_scale",
    "similarity",
    "spread",
    "weighting",
]
