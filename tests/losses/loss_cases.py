"""Every loss in every mode, and slow oracles in numpy that share no code with the package."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from matcard.errors import InputError
from matcard.losses import Brier, Loss, LossOptions, build_loss, make_options
from matcard.losses.measure import MeasureOptions, MemoryOptions
from matcard.losses.warmup import WarmUpOptions
from matcard.options import Choices, rules

COUNTS = (9, 3, 2)
Case = tuple[str, dict[str, Any]]

PARTS: dict[type[LossOptions], list[dict[str, Any]]] = {
    MeasureOptions: [{"scale": 3.0}, {"scale": "median"}, {"scale_schedule": "log", "scale_end": 10.0}],
    WarmUpOptions: [
        {"warmup": 1},
        {"warmup_ramp": 0.5},
        {"base": "logit_adjustment"},
        {"base": Brier(reduction="sum")},
    ],
    MemoryOptions: [{"memory": 8}],
}
"""What the parts that losses are given can be set to."""

NUMBERS: list[Case] = [
    ("cross_entropy", {"label_smoothing": 0.1}),
    ("class_balanced", {"beta": 0.9}),
    ("focal", {"gamma": 0.5}),
    ("ldam", {"logit_scale": 2.0, "drw_start": 0.0}),
    ("logit_adjustment", {"tau": 1.5}),
    ("error", {"log": True, "reduction": "mean"}),
    ("error", {"combine": "add", "lambda_invariant": 0.3, "base": "logit_adjustment"}),
    ("error", {"warmup": 1, "base": "focal"}),
    ("error", {"combine": "multiply", "warmup_ramp": 0.5}),
    ("triplet", {"anchors": "class-aware", "scale": "median"}),
    ("triplet", {"combine": "multiply", "lambda_base": 0.5}),
    ("per_class", {"unit_norm": True, "scale": "median", "memory": 8}),
    ("reweight", {"scale": 3.0, "memory": 8, "warmup": 0.5}),
]
"""Numbers of single losses, and settings together."""


def cases() -> list[Case]:
    """Every loss that is known: as it is, with each choice of each option, and with each part that it takes."""
    found: list[Case] = []
    for name in Loss.names():
        options = Loss.find(name).options_class
        choices = {option: allowed for option, allowed in rules(options).items() if isinstance(allowed, Choices)}
        default = options()
        settings: list[dict[str, Any]] = [{}]
        for option, allowed in choices.items():
            if option not in ("name", "invariant"):
                settings += [{option: value} for value in allowed if value != getattr(default, option)]
        settings += [setting for part, settable in PARTS.items() if issubclass(options, part) for setting in settable]
        settings += [setting for other, setting in NUMBERS if other == name]
        for setting in settings:
            with contextlib.suppress(InputError):  # what does not go with the other options as they are by default
                make_options(name, **setting)
                found.append((name, setting))
                # The spread by every form and memory, beside the magnitude by all.
                if issubclass(options, MeasureOptions) and setting.keys() <= {"combine", "memory", "unit_norm", "log"}:
                    found.append((name, {"invariant": "spread", **setting}))
    return found


def made(invariant: str, /, name: str = "error", **options: Any) -> Loss:
    """A loss that counts by an invariant."""
    return build_loss(name, invariant=invariant, **options)


CASES = cases()


def case_id(case: Case) -> str:
    name, options = case
    shown = {option: "Brier" if isinstance(value, Brier) else value for option, value in options.items()}
    return "-".join([name, *(f"{option}={value}" for option, value in shown.items())])


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
