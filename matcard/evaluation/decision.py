"""Decisions: rules from probabilities to a class, saved with the run and used at prediction; and their options.

Every rule here is a gain matrix: predict the class j with the largest sum_i p_i gain[i, j], the Bayes rule
when gain[i, j] is what calling an i a j is worth (C. Elkan, IJCAI 2001). The identity gives argmax,
diag(t, 1 - t) a threshold t on class 1 of two, diag(exp(offset)) an offset on each logit, -costs the least
expected cost. Those that look at the validation part are chosen in `matcard.evaluation.choice`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from matcard.errors import InputError
from matcard.evaluation.confusion import check_probabilities
from matcard.files import read_json
from matcard.options import Within, check_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Float, Int, Shaped
    from numpy.typing import ArrayLike

Rule = Literal["argmax", "best_score", "best_f1", "target_recall", "target_precision", "cost", "prior"]
Objective = Literal["macro_f1", "balanced_accuracy", "g_mean", "mcc"]


@dataclass(frozen=True)
class DecisionOptions:
    """The rule from probabilities to a class; what it leaves open is chosen on the validation part.

    Raises:
        InputError: when a value is out of range, or does not go with the rule.
    """

    rule: Rule = "best_score"
    """`best_score`: an offset for the logit of each class, with the best `objective`; `best_f1`: one for the class
    `positive`, with its best F1; `target_recall`, `target_precision`: one for `positive`, with a recall or precision of
    at least `target`; `cost`: the least expected cost by the table `costs`; `prior`: as if the classes had the shares
    `shares`; `argmax`: the most likely class. All but the last three look at the validation part, none at the test
    part; the score of `argmax` is always shown beside."""

    objective: Objective = "macro_f1"
    """What `best_score` makes large."""

    positive: str | None = None
    """Class that `best_f1`, `target_recall` and `target_precision` are about; where not given, the rarest of the
    training part."""

    target: Annotated[float, Within(0, 1, "(]")] | None = None
    """Recall or precision to reach, in (0, 1]."""

    costs: str | None = None
    """CSV file for `cost`: a header with the predicted classes, a line for each true class with its name first; a cell
    is what it costs to call the line's class the column's."""

    shares: list[float] | None = None
    """Shares of the classes that `prior` decides for, in the order of the classes; equal ones where not given."""

    def __post_init__(self) -> None:
        check_options(self, "--decision.")
        aims = self.rule in ("target_recall", "target_precision")
        for name, is_needed in (("target", aims), ("costs", self.rule == "cost")):
            if (getattr(self, name) is not None) != is_needed:
                given = "is needed by" if is_needed else "does not go with"
                raise InputError(f"--decision.{name} {given} --decision.rule {self.rule}")
        if self.positive is not None and not (aims or self.rule == "best_f1"):
            raise InputError(f"--decision.positive does not go with --decision.rule {self.rule}")
        if self.shares is not None:
            if self.rule != "prior":
                raise InputError(f"--decision.shares does not go with --decision.rule {self.rule}")
            if not all(math.isfinite(share) and share >= 0 for share in self.shares) or sum(self.shares) <= 0:
                raise InputError(f"--decision.shares is {self.shares}: expected numbers of 0 or more, such as 0.9,0.1")


@dataclass(frozen=True)
class Decision:
    """A rule from probabilities to a class.

    Attributes:
        rule: how it was chosen, in words.
        class_names: C names, in the order of the probabilities.
        gain: (C, C) rows; row = true class, column = predicted class.
    """

    rule: str
    class_names: tuple[str, ...]
    gain: tuple[tuple[float, ...], ...]

    @property
    def threshold(self) -> float | None:
        """Probability above which class 1 of two is predicted; None where there is no such number."""
        if len(self.class_names) > 2:
            return None
        (right0, wrong0), (wrong1, right1) = self.gain
        value0, value1 = right0 - wrong0, right1 - wrong1
        return value0 / (value0 + value1) if value0 > 0 and value1 > 0 else None

    def apply(self, probabilities: Float[np.ndarray, "n C"]) -> Int[np.ndarray, " n"]:
        """Give the class of each row.

        Raises:
            InputError: malformed probabilities.
        """
        probabilities = check_probabilities(probabilities, len(self.class_names))
        return np.asarray((probabilities.astype(np.float64) @ np.array(self.gain)).argmax(axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values, for a JSON file."""
        return {**asdict(self), "threshold": self.threshold}

    @classmethod
    def load(cls, path: str | Path) -> Decision:
        """Read the `decision.json` of a run; raises as `from_dict`."""
        return cls.from_dict(read_json(path), str(path))

    @classmethod
    def from_dict(cls, stored: Any, path: str) -> Decision:
        """Make it of what `to_dict` gives; `path` says where it stood.

        Raises:
            InputError: no decision.
        """
        try:
            return _decision(stored["rule"], stored["class_names"], stored["gain"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} holds no decision rule; expected the decision.json of a run") from error


def argmax(class_names: Sequence[str]) -> Decision:
    """Predict the most likely class; with two classes, class 1 above one half."""
    return _decision("argmax", class_names, np.eye(len(class_names)))


def by_cost(class_names: Sequence[str], costs: Float[np.ndarray, "C C"]) -> Decision:
    """Predict the class of least expected cost; `costs` are those of calling the row's class the column's.

    Raises:
        InputError: wrong shape or not finite.
    """
    return _decision("least expected cost", class_names, -np.asarray(costs, dtype=np.float64))


def prior_adjusted(
    class_names: Sequence[str],
    train_counts: Shaped[np.ndarray, " C"],
    shares: Float[np.ndarray, " C"] | None = None,
) -> Decision:
    """Predict as if the classes had other shares than in training: p_j is multiplied by new / old.

    With equal shares this is post-hoc logit adjustment with tau = 1 (A. K. Menon et al., ICLR 2021). It
    supposes probabilities that follow the training shares: after a reweighting loss or balanced sampling it
    corrects twice. `train_counts` are the samples of each class that training saw, on average an epoch.

    Raises:
        InputError: a class without training samples.
    """
    old = np.asarray(train_counts, np.float64)
    if (old == 0).any():
        missing = ", ".join(name for name, count in zip(class_names, old, strict=True) if count == 0)
        raise InputError(f"no prior to adjust from: these classes have no training sample: {missing}")
    new = np.ones(len(old)) if shares is None else shares
    rule = "prior-adjusted to " + ("equal shares" if shares is None else "given shares")
    return _decision(rule, class_names, np.diag((new / new.sum()) / (old / old.sum())))


def by_offsets(rule: str, class_names: Sequence[str], offsets: Float[np.ndarray, " C"]) -> Decision:
    """Add an offset to each log-probability before argmax."""
    return _decision(rule, class_names, np.diag(np.exp(offsets - np.max(offsets))))


def mean_decision(decisions: Sequence[Decision]) -> Decision:
    """Give the rule of an ensemble, to be applied to its mean probabilities: the mean of its members' gains.

    Each gain matrix counts alike: its entries are divided by the sum of their sizes. With two classes the threshold
    is the mean of the members' thresholds.

    Raises:
        InputError: no decision, or decisions on different classes.
    """
    if len({decision.class_names for decision in decisions}) != 1:
        raise InputError("a mean of decisions needs one or more, all on the same classes")
    rules = list(dict.fromkeys(decision.rule for decision in decisions))
    if len(decisions) == 1 or len({decision.gain for decision in decisions}) == 1:
        return decisions[0]
    gains = [np.array(decision.gain) for decision in decisions]
    mean = np.mean([gain / np.abs(gain).sum() for gain in gains], axis=0)
    return _decision(f"mean of {len(decisions)}: {'; '.join(rules)}", decisions[0].class_names, mean)


def _decision(rule: str, class_names: Sequence[str], gain: ArrayLike) -> Decision:
    size = len(class_names)
    try:
        matrix = np.asarray(gain, dtype=np.float64).reshape(size, size)
    except ValueError:  # another shape, or rows of different lengths
        matrix = np.full((1, 1), np.nan)
    if not np.isfinite(matrix).all():
        raise InputError(f"expected a finite {size} x {size} matrix, one row a true class, got {gain!r}")
    return Decision(rule, tuple(class_names), tuple(tuple(row) for row in matrix.tolist()))
