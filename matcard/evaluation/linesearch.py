"""What follows from each offset of one class's logit, the other offsets held: counts, or an objective, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcard.evaluation.confusion import Counts, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int

_TIE = 1e-9
"""Log-odds closer than this are one step: the chosen offset must stand clear of rounding."""


class Objective(NamedTuple):
    """An average over classes, as a function of sums of terms of single classes.

    `terms` gives T terms (T, ...) of each class from its hits, support and called; `combine` makes the average of their
    sums over classes (T, ...), given the support (C,).
    """

    terms: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def of(self, counts: Counts) -> float:
        """Give the average of one set of counts; minus infinity where it is undefined."""
        sums = self.terms(*counts).sum(axis=-1)
        return float(np.nan_to_num(self.combine(sums, counts.support), nan=-np.inf))


class Line(NamedTuple):
    """Class c from never to always predicted, a step at each sample's break-even offset.

    Attributes:
        c: the class.
        targets: (n,) true classes, in the order in which the samples become c.
        rival: (n,) what they are called before.
        cut: (m,) numbers of samples that are called c, at the offsets that differ.
        offset: (m,) an offset for each.
    """

    c: int
    targets: Int[np.ndarray, " n"]
    rival: Int[np.ndarray, " n"]
    cut: Int[np.ndarray, " m"]
    offset: Float[np.ndarray, " m"]

    @classmethod
    def along(
        cls, targets: Int[np.ndarray, " n"], log_p: Float[np.ndarray, "n C"], offsets: Float[np.ndarray, " C"], c: int
    ) -> Line:
        """Follow class c, the others at `offsets`."""
        others = log_p + offsets
        others[:, c] = -np.inf
        rival = others.argmax(axis=1)
        break_even = others[np.arange(len(rival)), rival] - log_p[:, c]
        order = np.argsort(break_even, kind="stable")
        edges = np.concatenate([[-np.inf], break_even[order], [np.inf]])
        with np.errstate(invalid="ignore"):  # infinite minus infinite: such samples never change sides
            cut = np.flatnonzero(np.diff(edges) > _TIE)
        return cls(c, targets[order], rival[order], cut, _between(edges[cut], edges[cut + 1]))

    def of_class(self) -> Counts:
        """Give the counts of class c alone, (m,) each."""
        hits = np.append(0.0, np.cumsum(self.targets == self.c))
        support = np.full(len(self.cut), hits[-1])
        return Counts(hits[self.cut], support, self.cut.astype(np.float64))

    def scores(self, objective: Objective, num_classes: int) -> Float[np.ndarray, " m"]:
        """Give an average over all classes at each offset; minus infinity where it is undefined.

        A step changes c and one rival: the sums over classes follow from those of the step before, so that the work
        does not grow with the number of classes.
        """
        support = np.bincount(self.targets, minlength=num_classes).astype(np.float64)
        lost = self._rivals(objective, support)
        own = objective.terms(*self.of_class())
        return np.asarray(np.nan_to_num(objective.combine(lost[:, self.cut] + own, support), nan=-np.inf))

    def _rivals(self, objective: Objective, support: Float[np.ndarray, " C"]) -> Float[np.ndarray, "T n+1"]:
        """Give the sums of the terms of all classes but c, before each step and after the last."""
        right = self.rival == self.targets
        called = np.bincount(self.rival, minlength=len(support)).astype(np.float64)
        hits = np.bincount(self.rival[right], minlength=len(support)).astype(np.float64)
        at_first = objective.terms(hits, support, called)
        at_first[:, self.c] = 0.0
        # Rival by rival: how many of its samples, and of its hits, are gone before each of its steps.
        by_rival = np.argsort(self.rival, kind="stable")
        r, gone = self.rival[by_rival], right[by_rival].astype(np.float64)
        first = np.searchsorted(r, np.arange(len(support)))
        samples_gone = np.arange(len(r)) - first[r]
        before = np.cumsum(gone) - gone
        hits_gone = before - np.append(before, 0.0)[first][r]
        now = (hits[r] - hits_gone, support[r], called[r] - samples_gone)
        change = objective.terms(now[0] - gone, now[1], now[2] - 1) - objective.terms(*now)
        change[:, r == self.c] = 0.0  # where no other class is possible there is no rival: c at every offset
        steps = np.empty_like(change)
        steps[:, by_rival] = change
        return np.cumsum(np.hstack([at_first.sum(axis=1, keepdims=True), steps]), axis=1)


def _between(low: Float[np.ndarray, " m"], high: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Give a point in each interval: 0 (no change) if inside, else the middle, or 1 beyond the finite end."""
    with np.errstate(invalid="ignore"):
        middle = np.where(np.isinf(low), high - 1, np.where(np.isinf(high), low + 1, (low + high) / 2))
    return np.where((low < 0) & (high > 0), 0.0, middle)


def _present(support: Float[np.ndarray, " C"]) -> int:
    return int((support > 0).sum())


def _f1(h: np.ndarray, s: np.ndarray, called: np.ndarray) -> np.ndarray:
    return np.where(s > 0, np.nan_to_num(ratio(2 * h, s + called)), 0.0)[None]


def _recall(h: np.ndarray, s: np.ndarray, called: np.ndarray) -> np.ndarray:
    return np.asarray(np.nan_to_num(ratio(h, s))[None])


def _log_recall(h: np.ndarray, s: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Give the logarithm of the recall where there is one, and whether the class is never found."""
    found = h > 0.5
    return np.stack([np.log(np.where(found, h, 1.0) / np.where(found, s, 1.0)), ((s > 0) & ~found).astype(np.float64)])


def _agreement(h: np.ndarray, s: np.ndarray, called: np.ndarray) -> np.ndarray:
    return np.stack([h, s * called, called**2])


def _mcc(sums: np.ndarray, support: np.ndarray) -> np.ndarray:
    hits, product, squares = sums
    n = support.sum()
    return ratio(hits * n - product, np.sqrt((n**2 - (support**2).sum()) * (n**2 - squares)))


OBJECTIVES = {
    "macro_f1": Objective(_f1, lambda sums, support: sums[0] / _present(support)),
    "balanced_accuracy": Objective(_recall, lambda sums, support: sums[0] / _present(support)),
    "g_mean": Objective(
        _log_recall, lambda sums, support: np.where(sums[1] > 0.5, 0.0, np.exp(sums[0] / _present(support)))
    ),
    "mcc": Objective(_agreement, _mcc),
}
"""The averages of `matcard.evaluation.confusion` of the same names; a class without support does not count."""
