"""Magnitude and spread as losses (O'Malley 2026, arXiv:2601.04941)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, cast

import torch

from matcard.errors import MatcardWarning
from matcard.invariants import jitter_log
from matcard.losses.base import Loss, SampleLoss
from matcard.losses.class_embedding import Reweight
from matcard.losses.effective import EffectiveNumber
from matcard.losses.embedding import EmbeddingSpace
from matcard.losses.error import ErrorSpace
from matcard.losses.options import CardinalityOptions
from matcard.losses.registry import build_loss
from matcard.losses.warmup import blend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.base import Terms
    from matcard.losses.space import Space


class CardinalityLoss(Loss[CardinalityOptions]):
    """A loss that counts distinct mistakes, or distinct embeddings, in place of repeated ones.

    With zeta_ij = exp(-t d_ij) the magnitude of n points is 1' zeta^-1 1, and their spread is
    sum_i 1 / sum_j zeta_ij: both grow from 1 to n as points move apart, and copies of a point count (nearly)
    as one. `space` says what is counted and `combine` what is made of it; the formulas stand in
    `matcard.losses.formulas.COMBINATIONS`.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[4.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
        >>> loss = MagnitudeLoss(scale=1.0)
        >>> round(loss(logits, torch.tensor([0, 1, 2])).item(), 3)
        0.618
    """

    def __init__(
        self,
        options: CardinalityOptions | None = None,
        *,
        class_counts: Sequence[int] | None = None,
        seed: int = 0,
        **changes: Any,
    ) -> None:
        super().__init__(options, class_counts=class_counts, seed=seed, **changes)

        def base() -> SampleLoss[Any]:
            built = build_loss(self.options.base_options(), class_counts=class_counts, seed=seed)
            return cast("SampleLoss[Any]", built)

        self.space: Space = _space(self.options)(self.options, base(), seed)
        # A base of its own: effective numbers replace the counts of the other.
        self.first = base() if self.options.warms_up else None
        self._blend = self._blended(0, 1)
        self.needs_embeddings = self.space.needs_embeddings
        self.trains_head = self.space.trains_head
        if ignored := self.options.without_effect():
            warnings.warn(
                f"loss {self.name!r} does not read {', '.join(ignored)} with space "
                f"{self.options.space!r} and combine {self.options.combine!r}: leave them out",
                MatcardWarning,
                stacklevel=3,
            )
        self._warned = False
        self._guard(0 if class_counts is None else len(class_counts))

    def compute(
        self,
        logits: Float[Tensor, "N C"],
        targets: Int[Tensor, " N"],
        embeddings: Float[Tensor, "N F"] | None,
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the loss of a batch and its terms, with the number of matrices that had to be lifted."""
        self._guard(logits.shape[1])
        lifted = jitter_log.count
        # Before it counts, the invariant is still shown, and points are remembered, at no cost of a backward pass.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._blend > 0):
            loss, terms = self.space(logits, targets, embeddings)
        if self.first is not None:
            base = self.first.average(logits, targets)
            terms = {"base": base, **terms, "blend": self._blend}
            loss = (1 - self._blend) * base + self._blend * loss if self._blend else base
        return loss, {**terms, "jitter": float(jitter_log.count - lifted)}

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Move warm-up, schedules, deferred reweighting, effective numbers and the mining of triplets on."""
        self.space.on_epoch(epoch, epochs)
        self._blend = self._blended(epoch, epochs)
        if self.first is None:
            return
        self.first.on_epoch(epoch, epochs)
        if epoch == 0 and self._blended(epochs - 1, epochs) == 0:
            warnings.warn(
                f"loss {self.name!r}: loss.warmup {self.options.warmup:g} lasts for all of the {epochs} epochs, and "
                f"{self.options.base} counts alone; shorten it",
                MatcardWarning,
                stacklevel=2,
            )

    def _blended(self, epoch: int, epochs: int) -> float:
        return blend(self.options.warmup, self.options.warmup_ramp, epoch, epochs)

    def _guard(self, num_classes: int) -> None:
        if self._warned or num_classes != 2 or (self.options.space, self.options.combine) != ("error", "replace"):
            return
        self._warned = True
        warnings.warn(
            f"loss {self.name!r} of errors alone collapses to the majority class with two classes: their "
            "errors lie on a line, on which it measures little but their range; set loss.space to "
            "class-embedding and loss.combine to reweight, or loss.combine to add",
            MatcardWarning,
            stacklevel=3,
        )


class MagnitudeLoss(CardinalityLoss):
    """The loss by magnitude: copies of a point count as one point, exactly."""

    name = "magnitude"


class SpreadLoss(CardinalityLoss):
    """The loss by spread, of any order: no solve, and copies of a point lower the share of each."""

    name = "spread"


def _space(options: CardinalityOptions) -> type[Space]:
    if options.space == "class-embedding":
        return Reweight if options.combine == "reweight" else EffectiveNumber
    return ErrorSpace if options.space == "error" else EmbeddingSpace
