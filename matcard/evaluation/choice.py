"""The decision rule that a run asks for, chosen on its validation part by exact line search over logit offsets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from matcard.errors import InputError, listed, nearest_names
from matcard.evaluation.confusion import AVERAGES, Counts, check_predictions, confusion_matrix, f1, ratio, recall
from matcard.evaluation.decision import Decision, Objective, argmax, by_cost, by_offsets, prior_adjusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Float64, Int

    from matcard.evaluation.decision import DecisionOptions

_MAX_SWEEPS = 20
_EQUAL = 1e-10
"""Scores closer than this are equally good: they are sums of as many rounded steps as there are samples."""
_MOST_COUNTS = 1_000_000
_TIE = 1e-9
"""Log-odds closer than this are one step: the chosen offset must stand clear of rounding."""


def choose_decision(
    options: DecisionOptions,
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    train_counts: Int[np.ndarray, " C"],
    drawn_counts: Float[np.ndarray, " C"] | None = None,
) -> Decision:
    """Make the rule of `options`; what it leaves open is chosen on these samples, of the validation part.

    `drawn_counts` are how many of each class an epoch draws, the prior of the probabilities; `train_counts` by default.

    Raises:
        InputError: an aim that is out of reach on these samples, or as `check_decision`.
    """
    check_decision(options, class_names, train_counts)
    validation = (targets, probabilities, class_names)
    match options.rule:
        case "argmax":
            return argmax(class_names)
        case "best_score":
            return best_score(*validation, options.objective)
        case "best_f1" | "target_recall" | "target_precision":
            # The class that is named, else the rarest of the training part.
            positive = options.positive if options.positive is not None else class_names[int(np.argmin(train_counts))]
            return best_of_class(options.rule, *validation, positive, options.target or 1.0)
        case "cost":
            return by_cost(class_names, read_costs(Path(options.costs or ""), class_names))
        case "prior":
            shares = None if options.shares is None else np.array(options.shares)
            return prior_adjusted(class_names, train_counts if drawn_counts is None else drawn_counts, shares)


def check_decision(options: DecisionOptions, class_names: Sequence[str], train_counts: Int[np.ndarray, " C"]) -> None:
    """Tell before any training what the classes of the data make impossible.

    Raises:
        InputError: no such class, a table of costs or shares that does not fit the classes.
    """
    if options.positive is not None and options.positive not in class_names:
        raise InputError(f"--decision.positive {options.positive!r}: {nearest_names(options.positive, class_names)}")
    if options.costs is not None:
        read_costs(Path(options.costs), class_names)
    if options.shares is not None and len(options.shares) != len(class_names):
        raise InputError(
            f"--decision.shares has {len(options.shares)} numbers for {len(class_names)} classes: give one for each of "
            f"{listed(class_names)}"
        )
    if options.rule == "prior":
        prior_adjusted(class_names, train_counts)


def read_costs(path: Path, class_names: Sequence[str]) -> Float64[np.ndarray, "C C"]:
    """Read a table of costs: header of predicted classes, a line for each true class with its name first.

    Returns:
        row = true class, column = predicted class, in the order of `class_names`.

    Raises:
        InputError: no such file, classes that are missing or foreign, or cells that are not numbers.
    """
    try:
        table = pd.read_csv(path, index_col=0, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--decision.costs {path}: cannot be read as CSV ({error})") from error
    columns, rows = ([str(name).strip() for name in names] for names in (table.columns, table.index))
    for names, what in ((columns, "header"), (rows, "first column")):
        if sorted(names) != sorted(class_names):
            raise InputError(
                f"--decision.costs {path}: the {what} names {listed(names) or 'nothing'}; expected each of the "
                f"classes {listed(class_names)} once"
            )
    numbers = pd.DataFrame(table.to_numpy(), rows, columns).apply(pd.to_numeric, errors="coerce")
    costs: Float64[np.ndarray, "C C"] = numbers.loc[list(class_names), list(class_names)].to_numpy(np.float64)
    if not np.isfinite(costs).all():
        i, j = np.argwhere(~np.isfinite(costs))[0]
        raise InputError(
            f"--decision.costs {path}: the cost of calling {class_names[i]!r} {class_names[j]!r} is no finite number"
        )
    return costs


def best_score(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    objective: Objective = "macro_f1",
) -> Decision:
    """Choose the offset of each class that maximises an average on these samples.

    Two classes: one threshold, the exact maximum. More: exact line searches class by class until none
    improves. Where argmax does as well, argmax it is.

    Raises:
        InputError: malformed input.
    """
    log_p, targets = _log_probabilities(targets, probabilities, class_names)
    num_classes = log_p.shape[1]
    at_argmax = Counts.of(confusion_matrix(targets, log_p.argmax(axis=1), num_classes))
    average = AVERAGES[objective]
    offsets, best = np.zeros(num_classes), float(_or_worst(average(at_argmax)))
    for _ in range(_MAX_SWEEPS):
        before = best
        for c in [1] if num_classes == 2 else range(num_classes):
            steps, counts = along(targets, log_p, offsets, c)
            offsets[c], best = _climb(steps, _or_worst(average(counts)), offsets[c], best)
        if best == before:
            break
    return by_offsets(f"best {objective} on validation", class_names, offsets)


def best_of_class(
    rule: Literal["best_f1", "target_recall", "target_precision"],
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    positive: str,
    target: float = 1.0,
) -> Decision:
    """Choose the offset of one class, the others at none.

    Args:
        rule: `best_f1`: its largest F1; `target_recall`: the smallest offset at which its recall reaches the target;
            `target_precision`: the largest one at which its precision holds the target, so the most recall.
        targets: classes of the validation part.
        probabilities: of the classes.
        class_names: their names.
        positive: the class whose offset moves.
        target: recall or precision to reach, in (0, 1].

    Raises:
        InputError: malformed input, no sample of the class, or a target no offset reaches.
    """
    log_p, targets = _log_probabilities(targets, probabilities, class_names)
    num_classes = log_p.shape[1]
    c = list(class_names).index(positive)
    steps, all_counts = along(targets, log_p, np.zeros(num_classes), c)
    counts = Counts(*(numbers[:, c] for numbers in all_counts))
    if rule == "best_f1":
        at_argmax = Counts.of(confusion_matrix(targets, log_p.argmax(axis=1), num_classes))
        offset, _ = _climb(steps, _or_worst(f1(counts)), 0.0, float(_or_worst(f1(at_argmax))[c]))
        aim = f"best F1 of {positive}"
    elif rule == "target_recall":
        aim = f"recall of {positive} >= {target:g}"
        offset = steps[_reaching(target, recall(counts), f"recall of {positive}")[0]]
    else:
        aim = f"precision of {positive} >= {target:g}"
        offset = steps[_reaching(target, ratio(counts.hits, counts.called), f"precision of {positive}")[-1]]
    offsets = np.zeros(num_classes)
    offsets[c] = offset
    return by_offsets(f"{aim} on validation", class_names, offsets)


def along(
    targets: Int[np.ndarray, " n"], log_p: Float[np.ndarray, "n C"], offsets: Float[np.ndarray, " C"], c: int
) -> tuple[Float[np.ndarray, " m"], Counts]:
    """Follow class c from never to always predicted, a step at each sample's break-even offset; others at `offsets`.

    Returns:
        an offset for each of m steps, and the counts of all classes (m, C) at it. Where m C would pass 1,000,000, an
        even part of the steps.
    """
    others = log_p + offsets
    others[:, c] = -np.inf
    n, num_classes = others.shape
    rival = others.argmax(axis=1)
    break_even = others[np.arange(n), rival] - log_p[:, c]
    order = np.argsort(break_even, kind="stable")
    edges = np.concatenate([[-np.inf], break_even[order], [np.inf]])
    with np.errstate(invalid="ignore"):  # infinite minus infinite: such samples never change sides
        cut = np.flatnonzero(np.diff(edges) > _TIE)
    cut = cut[:: 1 + len(cut) * num_classes // _MOST_COUNTS]
    # The first `cut` samples are called c, the others what they are called without it.
    targets, rival = targets[order], rival[order]
    right = (rival == targets).astype(np.float64)
    place = np.searchsorted(cut, np.arange(n), side="right") * num_classes + rival

    def left(weights: Float[np.ndarray, " n"] | None = None) -> Float[np.ndarray, "m C"]:
        gone = np.bincount(place, weights, (len(cut) + 1) * num_classes).reshape(-1, num_classes)
        return np.asarray(gone.sum(axis=0) - np.cumsum(gone, axis=0)[:-1])

    hits, called = left(right), left().astype(np.float64)
    hits[:, c], called[:, c] = np.append(0, np.cumsum(targets == c))[cut], cut
    support = np.bincount(targets, minlength=num_classes).astype(np.float64)
    # No change where that will do, else the middle of the step, or 1 beyond its finite end.
    low, high = edges[cut], edges[cut + 1]
    with np.errstate(invalid="ignore"):
        middle = np.where(np.isinf(low), high - 1, np.where(np.isinf(high), low + 1, (low + high) / 2))
    steps = np.where((low < 0) & (high > 0), 0.0, middle)
    return steps, Counts(hits, np.broadcast_to(support, hits.shape), called)


def _log_probabilities(
    targets: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"], class_names: Sequence[str]
) -> tuple[Float[np.ndarray, "n C"], Int[np.ndarray, " n"]]:
    targets, probabilities = check_predictions(targets, probabilities, len(class_names))
    with np.errstate(divide="ignore"):
        return np.log(probabilities.astype(np.float64)), targets


def _climb(
    steps: Float[np.ndarray, " m"], score: Float[np.ndarray, " m"], current: float, best: float
) -> tuple[float, float]:
    """Give the best offset, of equally good ones the nearest, and its score; or the current."""
    if score.max() <= best + _EQUAL:
        return current, best
    top = np.flatnonzero(score >= score.max() - _EQUAL)
    step = top[np.abs(steps[top] - current).argmin()]
    return float(steps[step]), float(score[step])


def _reaching(aim: float, values: Float[np.ndarray, " m"], what: str) -> Int[np.ndarray, " k"]:
    """Give the steps of a curve, at least one, whose value is no less than the aim."""
    if np.isnan(values).all():
        raise InputError(f"a {what} cannot be aimed at: validation has no sample to measure it on")
    steps = np.flatnonzero(values >= aim)
    if not steps.size:
        raise InputError(f"a {what} of {aim:g} is out of reach on validation; at most {np.nanmax(values):.3f} is")
    return steps


def _or_worst(scores: Float[np.ndarray, "*m"]) -> Float[np.ndarray, "*m"]:
    """Put minus infinity where a score is undefined."""
    return np.asarray(np.nan_to_num(scores, nan=-np.inf))
