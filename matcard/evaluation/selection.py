"""Choosing a decision rule on the validation part, by exact line search over the logit offset of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcard.errors import InputError
from matcard.evaluation.checks import check_class_names, check_predictions
from matcard.evaluation.confusion import (
    Counts,
    balanced_accuracy,
    confusion_matrix,
    g_mean,
    macro_f1,
    mcc,
    ratio,
)
from matcard.evaluation.thresholds import Decision, by_offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Float, Int

    Objective = Callable[[Counts], Float[np.ndarray, "*batch"]]

OBJECTIVES: dict[str, Objective] = {f.__name__: f for f in (macro_f1, balanced_accuracy, g_mean, mcc)}

_MAX_SWEEPS = 20
_EQUAL = 1e-12
_TIE = 1e-9
"""Log-odds closer than this are one step: the chosen offset must stand clear of rounding."""


class _Curve(NamedTuple):
    """What follows from each offset of one class, the others held: `offset` (m,), counts (m, C)."""

    offset: Float[np.ndarray, " m"]
    counts: Counts


def best_score(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    objective: str = "macro_f1",
) -> Decision:
    """Choose the offset of each class that maximises an average on these samples.

    Two classes: one threshold, the exact maximum. More: exact line searches class by class until none
    improves. Where argmax does as well, argmax it is.

    Args:
        targets: class indices of the validation part.
        probabilities: one row a sample.
        class_names: C names.
        objective: macro_f1, balanced_accuracy, g_mean or mcc.

    Raises:
        InputError: malformed input or an unknown objective.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"unknown objective {objective!r}; there are: {', '.join(OBJECTIVES)}")
    log_p, targets = _log_probabilities(targets, probabilities, class_names)
    num_classes = log_p.shape[1]
    moved = [1] if num_classes == 2 else range(num_classes)
    offsets, best = np.zeros(num_classes), _at_argmax(targets, log_p, OBJECTIVES[objective])
    for _ in range(_MAX_SWEEPS):
        before = best
        for c in moved:
            offsets[c], best = _climb(_line(targets, log_p, offsets, c), OBJECTIVES[objective], offsets[c], best)
        if best == before:
            break
    return by_offsets(f"best {objective} on validation", class_names, offsets)


def best_f1(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    positive: str,
) -> Decision:
    """Choose the offset of one class that maximises its F1; arguments as `target_recall`."""
    log_p, targets = _log_probabilities(targets, probabilities, class_names)
    c = _index(class_names, positive)
    curve = _line(targets, log_p, np.zeros(log_p.shape[1]), c)

    def f1(counts: Counts) -> Float[np.ndarray, "*batch"]:
        return ratio(2 * counts.hits[..., c], counts.support[..., c] + counts.called[..., c])

    offset, _ = _climb(curve, f1, 0.0, _at_argmax(targets, log_p, f1))
    return _one_offset(f"best F1 of {positive} on validation", class_names, c, offset)


def target_recall(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    positive: str,
    recall: float,
) -> Decision:
    """Choose the smallest offset of one class at which its recall reaches a target.

    Args:
        targets: class indices of the validation part.
        probabilities: one row a sample.
        class_names: C names.
        positive: the class whose offset moves.
        recall: the target, in (0, 1].

    Raises:
        InputError: malformed input, no such class, no sample of it, or a target no offset reaches.
    """
    log_p, targets = _log_probabilities(targets, probabilities, class_names)
    c = _index(class_names, positive)
    offset, counts = _line(targets, log_p, np.zeros(log_p.shape[1]), c)
    step = _reaching(recall, ratio(counts.hits[:, c], counts.support[:, c]), f"recall of {positive}")[0]
    return _one_offset(f"recall of {positive} >= {recall:g} on validation", class_names, c, offset[step])


def target_precision(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    positive: str,
    precision: float,
) -> Decision:
    """Choose the largest offset of one class at which its precision holds a target, so the most recall.

    Arguments and errors as `target_recall`.
    """
    log_p, targets = _log_probabilities(targets, probabilities, class_names)
    c = _index(class_names, positive)
    offset, counts = _line(targets, log_p, np.zeros(log_p.shape[1]), c)
    step = _reaching(precision, ratio(counts.hits[:, c], counts.called[:, c]), f"precision of {positive}")[-1]
    return _one_offset(f"precision of {positive} >= {precision:g} on validation", class_names, c, offset[step])


def _log_probabilities(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], class_names: Sequence[str]
) -> tuple[Float[np.ndarray, "n C"], Int[np.ndarray, " n"]]:
    targets, probabilities = check_predictions(targets, probabilities, len(check_class_names(class_names)))
    with np.errstate(divide="ignore"):
        return np.log(probabilities.astype(np.float64)), targets


def _line(
    targets: Int[np.ndarray, " n"], log_p: Float[np.ndarray, "n C"], offsets: Float[np.ndarray, " C"], c: int
) -> _Curve:
    """Follow class c from never to always predicted, a step at each sample's break-even offset."""
    num_classes = log_p.shape[1]
    others = log_p + offsets
    others[:, c] = -np.inf
    rival = others.argmax(axis=1)
    break_even = others.max(axis=1) - log_p[:, c]
    order = np.argsort(break_even, kind="stable")
    edges = np.concatenate([[-np.inf], break_even[order], [np.inf]])
    with np.errstate(invalid="ignore"):  # infinite minus infinite: such samples never change sides
        cut = np.flatnonzero(np.diff(edges) > _TIE)
    one_hot = np.eye(num_classes)
    lost = one_hot[rival[order]]
    true = one_hot[targets[order]]
    gained = np.zeros_like(lost)
    gained[:, c] = 1.0
    called = _from(lost.sum(axis=0), gained - lost)[cut]
    hits = _from((lost * true).sum(axis=0), (gained - lost) * true)[cut]
    support = np.broadcast_to(true.sum(axis=0), hits.shape)
    return _Curve(_between(edges[cut], edges[cut + 1]), Counts(hits, support, called))


def _from(start: Float[np.ndarray, " C"], steps: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "m C"]:
    return np.vstack([start, start + np.cumsum(steps, axis=0)])


def _between(low: Float[np.ndarray, " m"], high: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Give a point in each interval: 0 (no change) if inside, else the middle, or 1 beyond the finite end."""
    with np.errstate(invalid="ignore"):
        middle = np.where(np.isinf(low), high - 1, np.where(np.isinf(high), low + 1, (low + high) / 2))
    return np.where((low < 0) & (high > 0), 0.0, middle)


def _climb(curve: _Curve, objective: Objective, current: float, best: float) -> tuple[float, float]:
    """Give the best offset, of equally good ones the nearest, and its score; or the current."""
    score = np.nan_to_num(objective(curve.counts), nan=-np.inf)
    if score.max() <= best + _EQUAL:
        return current, best
    top = np.flatnonzero(score >= score.max() - _EQUAL)
    step = top[np.abs(curve.offset[top] - current).argmin()]
    return float(curve.offset[step]), float(score[step])


def _at_argmax(targets: Int[np.ndarray, " n"], log_p: Float[np.ndarray, "n C"], objective: Objective) -> float:
    counts = Counts.of(confusion_matrix(targets, log_p.argmax(axis=1), log_p.shape[1]))
    return float(np.nan_to_num(objective(counts), nan=-np.inf))


def _reaching(aim: float, values: Float[np.ndarray, " m"], what: str) -> Int[np.ndarray, " k"]:
    """Give the steps of a curve, at least one, whose value is no less than the aim."""
    if not 0 < aim <= 1:
        raise InputError(f"the {what} to aim at lies in (0, 1], got {aim:g}")
    if np.isnan(values).all():
        raise InputError(f"a {what} cannot be aimed at: validation has no sample to measure it on")
    steps = np.flatnonzero(values >= aim)
    if not steps.size:
        raise InputError(f"a {what} of {aim:g} is out of reach on validation; at most {np.nanmax(values):.3f} is")
    return steps


def _index(class_names: Sequence[str], name: str) -> int:
    if name not in class_names:
        raise InputError(f"no class {name!r}; there are: {', '.join(class_names)}")
    return list(class_names).index(name)


def _one_offset(rule: str, class_names: Sequence[str], c: int, offset: float) -> Decision:
    offsets = np.zeros(len(class_names))
    offsets[c] = offset
    return by_offsets(rule, class_names, offsets)
