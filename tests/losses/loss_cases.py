"""Every loss in every mode, and slow oracles in numpy that share no code with the package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

RIVALS: list[tuple[str, dict[str, Any]]] = [
    ("cross_entropy", {}),
    ("cross_entropy", {"label_smoothing": 0.1}),
    ("weighted_cross_entropy", {}),
    ("class_balanced", {"beta": 0.9}),
    ("focal", {}),
    ("focal", {"gamma": 0.5}),
    ("ldam", {"logit_scale": 2.0, "drw_start": 0.0}),
    ("balanced_softmax", {}),
    ("logit_adjustment", {"tau": 1.5}),
    ("brier", {}),
    ("brier", {"reduction": "mean"}),
]

MODES: list[dict[str, Any]] = [
    {},
    {"log": True, "reduction": "mean"},
    {"scale": "median"},
    {"combine": "multiply"},
    {"combine": "add", "lambda_invariant": 0.3, "base": "logit_adjustment"},
    {"space": "embedding", "combine": "add"},
    {"space": "embedding", "combine": "add", "form": "per-class", "scale": "median"},
    {"space": "embedding", "combine": "divide"},
    {"space": "embedding", "combine": "divide", "anchors": "class-aware", "scale": "median"},
    {"space": "embedding", "combine": "multiply", "lambda_base": 0.5},
    {"space": "embedding", "combine": "ratio"},
    {"space": "class-embedding", "combine": "reweight", "scale": 3.0},
    {"space": "class-embedding", "combine": "effective-number", "base": "class_balanced"},
    {"warmup": 1, "base": "focal"},
    {"combine": "multiply", "warmup_ramp": 0.5},
    {"space": "embedding", "combine": "add", "form": "per-class", "memory": 8},
    {"space": "class-embedding", "combine": "reweight", "memory": 8, "warmup": 0.5},
]

CASES = RIVALS + [(name, mode) for name in ("magnitude", "spread") for mode in MODES]


def case_id(case: tuple[str, dict[str, Any]]) -> str:
    name, options = case
    return "-".join([name, *(str(value) for value in options.values())])


def distance(x: np.ndarray, y: np.ndarray, p: float) -> float:
    return sum(abs(a - b) ** p for a, b in zip(x, y, strict=True)) ** (1 / p)


def similarity(points: np.ndarray, t: float, p: float = 2.0) -> np.ndarray:
    return np.array([[math.exp(-t * distance(x, y, p)) for y in points] for x in points])


def magnitude(points: np.ndarray, t: float, p: float = 2.0) -> float:
    return float(np.linalg.solve(similarity(points, t, p), np.ones(len(points))).sum())


def spread(points: np.ndarray, t: float, p: float = 2.0, order: float = 0.0) -> float:
    zeta = similarity(points, t, p)
    if order == 0:
        return float(sum(1 / row.sum() for row in zeta))
    return float((zeta.mean(1) ** (order - 1)).mean() ** (1 / (1 - order)))


INVARIANTS = {"magnitude": magnitude, "spread": spread}


def excess(name: str, points: np.ndarray, t: float, p: float = 2.0) -> float:
    """M(A) or S(A): the invariant of the points and the origin, less 1."""
    return INVARIANTS[name](np.vstack([points, np.zeros(points.shape[1])]), t, p) - 1


def softmax(z: np.ndarray) -> np.ndarray:
    return np.array([[math.exp(x) / sum(math.exp(y) for y in row) for x in row] for row in z])


def errors(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.eye(z.shape[1])[y] - softmax(z)


def cross_entropy(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([-math.log(row[label]) for row, label in zip(softmax(z), y, strict=True)])


def unit(h: np.ndarray) -> np.ndarray:
    return h / np.linalg.norm(h, axis=1, keepdims=True)
