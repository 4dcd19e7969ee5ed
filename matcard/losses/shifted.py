"""Cross-entropy of logits that are shifted by class counts: margins, balanced softmax, logit adjustment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from matcard.losses.base import CountedLoss, Logits, LossOptions, PerSample, Targets
from matcard.losses.cross_entropy import class_balanced_weights, cross_entropy
from matcard.options import NotNegative, Positive, Share, Within


@dataclass(frozen=True)
class LDAMOptions(LossOptions):
    """Options of the label-distribution-aware margin loss with deferred reweighting."""

    name: Literal["ldam"] = "ldam"
    max_margin: Positive = 0.5
    """Margin of the rarest class, in units of the logits."""
    logit_scale: Positive = 30.0
    """Factor on the logits; 30 suits the cosine head of the publication, a linear head wants about 1."""
    drw_start: Annotated[float, Within(0, 1, "[]")] = 0.8
    """Share of the epochs after which samples are weighted by class-balanced weights; 1 never does."""
    beta: Share = 0.9999
    """beta of the class-balanced weights, in [0, 1)."""


class LDAM(CountedLoss[LDAMOptions]):
    """Label-distribution-aware margins with deferred reweighting.

    The logit of the true class is lowered by its margin, and all are multiplied by s = `logit_scale`. From epoch
    `drw_start` x epochs on, samples have class-balanced weights, and the mean divides by their sum, as the published
    code does. There the head is a cosine one.
    """

    formula = "mean CE(s (z - m_y onehot(y)), y), m_c ~ n_c^(-1/4), max m_c = max_margin"
    reference = "Cao et al. 2019, equations 13 and 14, arXiv:1906.07413"

    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give the cross-entropy of s (z - m_y onehot(y))."""
        margins = self.class_counts**-0.25
        margins = (margins * (self.options.max_margin / margins.max())).to(logits.dtype)
        shift = nn.functional.one_hot(targets, logits.shape[1]) * margins[targets, None]
        return cross_entropy(self.options.logit_scale * (logits - shift), targets)

    def sample_weights(self, targets: Targets) -> PerSample | None:
        """Give class-balanced weights once it is time to reweight."""
        if self.epoch < self.options.drw_start * self.epochs:
            return None
        return class_balanced_weights(self.class_counts, self.options.beta)[targets]


@dataclass(frozen=True)
class BalancedSoftmaxOptions(LossOptions):
    """The balanced softmax has no options."""

    name: Literal["balanced_softmax"] = "balanced_softmax"


class BalancedSoftmax(CountedLoss[BalancedSoftmaxOptions]):
    """Cross-entropy of logits raised by the logarithm of the class counts."""

    formula = "mean CE(z + log n, y)"
    reference = "Ren et al. 2020, equation 4, arXiv:2007.10740"

    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give the cross-entropy of z + log n."""
        return cross_entropy(logits + self.class_counts.log(), targets)


@dataclass(frozen=True)
class LogitAdjustmentOptions(LossOptions):
    """Options of the logit-adjusted cross-entropy."""

    name: Literal["logit_adjustment"] = "logit_adjustment"
    tau: NotNegative = 1.0
    """Strength of the adjustment; 0 is cross-entropy, 1 aims at balanced error."""


class LogitAdjustment(CountedLoss[LogitAdjustmentOptions]):
    """Cross-entropy of logits raised by the logarithm of the prior."""

    formula = "mean CE(z + tau log(n / sum n), y)"
    reference = "Menon et al. 2021, equation 10, arXiv:2007.07314"

    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give the cross-entropy of z + tau log(n / sum n)."""
        counts = self.class_counts
        return cross_entropy(logits + self.options.tau * (counts / counts.sum()).log(), targets)
