"""Options of the decision rule: how probabilities become a class. Texts and defaults stand here once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from matcard.errors import InputError

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

    target: float | None = None
    """Recall or precision to reach, in (0, 1]."""

    costs: str | None = None
    """CSV file for `cost`: a header with the predicted classes, a line for each true class with its name first; a cell
    is what it costs to call the line's class the column's."""

    shares: list[float] | None = None
    """Shares of the classes that `prior` decides for, in the order of the classes; equal ones where not given."""

    def __post_init__(self) -> None:
        aims = self.rule in ("target_recall", "target_precision")
        needed = {
            "target": aims,
            "costs": self.rule == "cost",
        }
        for name, is_needed in needed.items():
            if (getattr(self, name) is not None) != is_needed:
                given = "is needed by" if is_needed else "does not go with"
                raise InputError(f"--decision.{name} {given} --decision.rule {self.rule}")
        if self.target is not None and not 0 < self.target <= 1:
            raise InputError(f"--decision.target is {self.target}: expected a number above 0, at most 1")
        if self.positive is not None and not (aims or self.rule == "best_f1"):
            raise InputError(f"--decision.positive does not go with --decision.rule {self.rule}")
        if self.shares is not None:
            if self.rule != "prior":
                raise InputError(f"--decision.shares does not go with --decision.rule {self.rule}")
            if not all(math.isfinite(share) and share >= 0 for share in self.shares) or sum(self.shares) <= 0:
                raise InputError(f"--decision.shares is {self.shares}: expected numbers of 0 or more, such as 0.9,0.1")
