"""What the losses that count distinct points have in common (O'Malley 2026, arXiv:2601.04941).

With zeta_ij = exp(-t d_ij) the magnitude of n points is 1' zeta^-1 1, and their spread is sum_i 1 / sum_j zeta_ij: both
grow from 1 to n as points move apart, and copies of a point count (nearly) as one. In the formulas
M(A) = |t (A u {0})| - 1, or the spread in place of the magnitude; l losses of single samples of the base;
e = onehot(y) - p errors; h embeddings; a, p, n unit-norm anchors, positives and negatives mined in the batch.
"""

from __future__ import annotations

import hashlib
import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from typing_extensions import TypeVar

from matcard.errors import InputError, MatcardWarning
from matcard.invariants import jitter_log
from matcard.losses.base import REWEIGHT, Logits, Loss, SampleLoss, Targets, Value, build_loss
from matcard.losses.cross_entropy import CrossEntropyOptions
from matcard.losses.measure import ExcessOptions, Measure, MeasureOptions
from matcard.losses.warmup import WarmUpOptions, blend
from matcard.options import NotNegative


@dataclass(frozen=True)
class CardinalityOptions(WarmUpOptions, MeasureOptions):
    """The invariant, its scale, the base loss and the warm-up."""


@dataclass(frozen=True)
class WeighedOptions(CardinalityOptions, ExcessOptions):
    """Options of a loss that is made of the invariant, and may stand beside the base loss."""

    of_embeddings: ClassVar[bool] = True

    lambda_base: NotNegative | None = None
    """Weight of the mean base loss: by default 1 where the invariant is added to it, and 0 elsewhere."""
    lambda_invariant: NotNegative = 1.0
    """Weight of what is made of the invariant."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base_weight > 0:
            return
        form = f"{self.name} {self.combined}"
        if self.warms_up and self.of_embeddings:
            raise InputError(
                f"--loss.warmup and --loss.warmup_ramp begin with the base loss, and {form} has none: set "
                "--loss.lambda_base above 0, so that the head is trained jointly, or leave them at 0"
            )
        multiplied = self.combined == "multiply" and not self.of_embeddings
        if self.base != CrossEntropyOptions() and not self.warms_up and not multiplied:
            raise InputError(
                f"--loss.base.name {self.base.name} plays no part in {form} where --loss.lambda_base is 0 and training "
                "does not begin with it (--loss.warmup): leave it out, or set one of them"
            )

    @property
    def combined(self) -> str:
        """How the invariant is combined with the base loss."""
        return getattr(self, "combine", "add")

    @property
    def base_weight(self) -> float:
        """`lambda_base`, or what it is by default."""
        return float(self.combined == "add") if self.lambda_base is None else self.lambda_base


C = TypeVar("C", bound=CardinalityOptions, default=Any)
W = TypeVar("W", bound=WeighedOptions, default=Any)


class CardinalityLoss(Loss[C]):
    """A loss that counts distinct mistakes, or distinct embeddings, in place of repeated ones."""

    reference = "O'Malley 2026, arXiv:2601.04941"
    needs_embeddings = True

    def __init__(self, options: C | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        o, counts = self.options, given.get("class_counts")
        self.base = self._new_base(counts)
        # What training begins with has a base of its own: effective numbers replace the counts of the other.
        self.first = self._new_base(counts) if o.warms_up else None
        self.blend = blend(o.warmup, o.warmup_ramp, 0, 1)
        self.measure = Measure(o)
        self._step = 0

    @abstractmethod
    def counted(self, logits: Logits, targets: Targets, embeddings: Any) -> Value:
        """Give the loss without warm-up, and its terms."""

    def compute(self, logits: Logits, targets: Targets, embeddings: Any) -> Value:
        """Give the loss of a batch and its terms, with the number of matrices that had to be lifted."""
        lifted = jitter_log.count
        # Before it counts, the invariant is still shown, and points are remembered, at no cost of a backward pass.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.blend > 0):
            loss, terms = self.counted(logits, targets, embeddings)
        if self.first is not None:
            base = self.first.average(logits, targets)
            # What does not count takes no part at all: 0 times infinity is not a number.
            loss = (1 - self.blend) * base + self.blend * loss if self.blend else base
            terms = {"base": base, **terms, "blend": self.blend}
        return loss, {**terms, "jitter": float(jitter_log.count - lifted)}

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Move the parts and the blend on, and draw anew."""
        super().on_epoch(epoch, epochs)
        self._step = 0
        o = self.options
        self.blend = blend(o.warmup, o.warmup_ramp, epoch, epochs)
        if epoch == 0 and blend(o.warmup, o.warmup_ramp, epochs - 1, epochs) == 0:
            warnings.warn(
                f"loss {o.name!r}: --loss.warmup {o.warmup:g} lasts for all of the {epochs} epochs, and {o.base.name} "
                "counts alone; shorten it",
                MatcardWarning,
                stacklevel=2,
            )

    def collapse_advice(self) -> str:
        """Say what to change when an epoch predicts one class only."""
        return (
            f"{self.options.name} may weigh samples too evenly or too unevenly: change --loss.scale (now "
            f"{self.options.scale}), or lower --optimizer.lr"
        )

    def draws(self) -> torch.Generator:
        """Give the generator of this step; outside training always the same."""
        if not self.training:
            return seeded(self.seed)
        self._step += 1
        return seeded(self.seed, self.epoch, self._step)

    def _new_base(self, class_counts: Any) -> SampleLoss:
        return build_loss(self.options.base, class_counts=class_counts, seed=self.seed)  # type: ignore[return-value]


class WeighedLoss(CardinalityLoss[W]):
    """lambda_base mean l + lambda_invariant form, for a form that is made of the invariant."""

    def __init__(self, options: W | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.trains_head = self.options.base_weight > 0 or not self.needs_embeddings

    @abstractmethod
    def form(self, logits: Logits, targets: Targets, embeddings: Any) -> Value:
        """Give what is made of the invariant, and its terms."""

    def counted(self, logits: Logits, targets: Targets, embeddings: Any) -> Value:
        """Give the form, by its weight, beside the base loss."""
        form, terms = self.form(logits, targets, embeddings)
        loss = self.options.lambda_invariant * form.to(logits)
        if self.options.base_weight > 0:
            terms["base"] = base = self.base.average(logits, targets)
            return self.options.base_weight * base + loss, terms
        # Without a base the logits still take part, at gradient 0, so that DDP does not wait for the head.
        return loss if self.trains_head else loss + (0 * logits).sum(), terms

    def collapse_advice(self) -> str:
        """Say what to change when an epoch predicts one class only."""
        o = self.options
        if o.base_weight > 0:
            return (
                f"the {o.invariant} outweighs its base: lower --loss.lambda_invariant (now {o.lambda_invariant:g}), or "
                f"set --loss.base.name logit_adjustment (now {o.base.name})"
            )
        return (
            f"embeddings may have shrunk to a point: raise --loss.lambda_base (now {o.base_weight:g}) or --loss.scale "
            f"(now {o.scale}), or set {REWEIGHT}"
        )


def seeded(*numbers: int) -> torch.Generator:
    """Give a generator on the CPU for this combination of numbers, unrelated to that of any other.

    Draws that depend on a seed, an epoch and a step alone are repeated by a run that resumes.
    """
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
