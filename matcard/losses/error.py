"""Errors that are distinct: the points are onehot(y) - p, so that a mistake made n times counts once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from matcard.errors import MatcardWarning
from matcard.losses.base import REWEIGHT, Logits, Targets, Terms, Value
from matcard.losses.cardinality import WeighedLoss, WeighedOptions
from matcard.losses.cross_entropy import errors
from matcard.losses.measure import precise

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class ErrorOptions(WeighedOptions):
    """Options of the loss that counts distinct errors."""

    of_embeddings: ClassVar[bool] = False

    name: Literal["error"] = "error"
    combine: Literal["replace", "multiply", "add"] = "replace"
    """The invariant in place of the base loss, times it, or added to it."""


class ErrorLoss(WeighedLoss[ErrorOptions]):
    """The magnitude or the spread of a batch's errors, in place of the base loss, times it, or added to it.

    Two classes have errors on a line, on which the magnitude needs no solve, and measures little but their range: there
    it collapses to one class unless it is added to a base.
    """

    formula = "replace: M(e)\nmultiply: mean l * M(e)\nadd: lambda_base mean l + lambda_invariant M(e)"
    needs_embeddings = False
    _warned = False

    def __init__(self, options: ErrorOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self._guard(0 if self.class_counts is None else len(self.class_counts))

    def form(self, logits: Logits, targets: Targets, embeddings: None) -> Value:
        """Give M of the errors, or the mean base loss times it."""
        self._guard(logits.shape[1])
        points = error_points(logits, targets, self.options.p)
        scale = self.measure.scale(points)
        invariant = self.measure.excess(points, scale).to(logits)
        terms: Terms = {"invariant": invariant, "scale": scale}
        if self.options.combine != "multiply":
            return invariant, terms
        terms["base"] = base = self.base.average(logits, targets)
        return base * invariant, terms

    def collapse_advice(self) -> str:
        """Say what to change when an epoch predicts one class only."""
        if self.options.base_weight > 0:
            return super().collapse_advice()
        return (
            f"the {self.options.invariant} of errors is small when errors are alike, as they are if one class is "
            f"predicted for all: set --loss.combine add and --loss.lambda_invariant 0.1, or {REWEIGHT}"
        )

    def _guard(self, num_classes: int) -> None:
        if self._warned or num_classes != 2 or self.options.combine != "replace":
            return
        self._warned = True
        warnings.warn(
            f"the {self.options.invariant} of errors alone collapses to the majority class with two classes: their "
            "errors lie on a line, on which it measures little but their range; set --loss.name reweight, or "
            "--loss.combine add",
            MatcardWarning,
            stacklevel=3,
        )


class MagnitudeLoss(ErrorLoss):
    """The magnitude of errors in place of cross-entropy: copies of an error count as one, exactly.

    Args:
        scale: factor t on all distances, or `median`.
        **given: other options of `ErrorLoss`, `class_counts` and `seed`.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[4.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
        >>> loss = MagnitudeLoss(scale=1.0)
        >>> round(loss(logits, torch.tensor([0, 1, 2])).item(), 3)
        0.618
    """

    def __init__(self, scale: float | str = 1.0, **given: Any) -> None:
        super().__init__(invariant="magnitude", scale=scale, **given)


class SpreadLoss(ErrorLoss):
    """The spread of errors in place of cross-entropy: no solve, and copies of an error lower the share of each.

    Args:
        scale: factor t on all distances, or `median`.
        **given: other options of `ErrorLoss`, `class_counts` and `seed`.
    """

    def __init__(self, scale: float | str = 1.0, **given: Any) -> None:
        super().__init__(invariant="spread", scale=scale, **given)


def error_points(logits: Logits, targets: Targets, p: float) -> Float[Tensor, "N D"]:
    """Give points whose l_p distances are those of the errors onehot(y) - p, in float64 where there is one.

    Two classes have errors (a, -a), which lie on a line: one coordinate, 2^(1/p) a, has the same distances
    and needs no solve.
    """
    points = errors(precise(logits), targets)
    return points[:, :1] * 2 ** (1 / p) if points.shape[1] == 2 else points
