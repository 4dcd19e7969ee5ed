"""Choosing a decision rule on the validation part, by exact line search over the logit offset of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError
from matcard.evaluation.checks import check_class_names, check_predictions
from matcard.evaluation.confusion import Counts, confusion_matrix, ratio
from matcard.evaluation.linesearch import OBJECTIVES, Line
from matcard.evaluation.thresholds import Decision, by_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int

_MAX_SWEEPS = 20
_EQUAL = 1e-10
"""Scores closer than this are equally good: they are sums of as many rounded steps as there are samples."""


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
    at_argmax = Counts.of(confusion_matrix(targets, log_p.argmax(axis=1), num_classes))
    offsets, best = np.zeros(num_classes), OBJECTIVES[objective].of(at_argmax)
    for _ in range(_MAX_SWEEPS):
        before = best
        for c in moved:
            line = Line.along(targets, log_p, offsets, c)
            offsets[c], best = _climb(line, line.scores(OBJECTIVES[objective], num_classes), offsets[c], best)
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
    line = Line.along(targets, log_p, np.zeros(log_p.shape[1]), c)

    def f1(counts: Counts) -> Float[np.ndarray, "*m"]:
        return np.asarray(np.nan_to_num(ratio(2 * counts.hits, counts.support + counts.called), nan=-np.inf))

    at_argmax = Counts.of(confusion_matrix(targets, log_p.argmax(axis=1), log_p.shape[1]))
    offset, _ = _climb(line, f1(line.of_class()), 0.0, float(f1(at_argmax)[c]))
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
    line = Line.along(targets, log_p, np.zeros(log_p.shape[1]), c)
    hits, support, _ = line.of_class()
    step = _reaching(recall, ratio(hits, support), f"recall of {positive}")[0]
    return _one_offset(f"recall of {positive} >= {recall:g} on validation", class_names, c, line.offset[step])


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
    line = Line.along(targets, log_p, np.zeros(log_p.shape[1]), c)
    hits, _, called = line.of_class()
    step = _reaching(precision, ratio(hits, called), f"precision of {positive}")[-1]
    return _one_offset(f"precision of {positive} >= {precision:g} on validation", class_names, c, line.offset[step])


def _log_probabilities(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], class_names: Sequence[str]
) -> tuple[Float[np.ndarray, "n C"], Int[np.ndarray, " n"]]:
    targets, probabilities = check_predictions(targets, probabilities, len(check_class_names(class_names)))
    with np.errstate(divide="ignore"):
        return np.log(probabilities.astype(np.float64)), targets


def _climb(line: Line, score: Float[np.ndarray, " m"], current: float, best: float) -> tuple[float, float]:
    """Give the best offset, of equally good ones the nearest, and its score; or the current."""
    if score.max() <= best + _EQUAL:
        return current, best
    top = np.flatnonzero(score >= score.max() - _EQUAL)
    step = top[np.abs(line.offset[top] - current).argmin()]
    return float(line.offset[step]), float(score[step])


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
