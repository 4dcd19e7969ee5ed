"""Losses of single samples: cross-entropy, weighted or shifted by class counts or difficulty, and the Brier score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import nn

from matcard.losses.base import ClassCounts, CountedLoss, Logits, LossOptions, PerSample, SampleLoss, Scalar, Targets
from matcard.options import NotNegative, Positive, Share, Within


@dataclass(frozen=True)
class CrossEntropyOptions(LossOptions):
    """Options of cross-entropy."""

    name: Literal["cross_entropy", "ce"] = "cross_entropy"
    label_smoothing: Share = 0.0
    """Share of each target spread evenly over all classes, in [0, 1)."""


class CrossEntropy(SampleLoss[CrossEntropyOptions]):
    """Mean -log p_y, as `nn.CrossEntropyLoss`."""

    formula = "mean -log p_y"
    reference = "label smoothing: Szegedy et al. 2016, arXiv:1512.00567"

    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give -log p_y, or its mixture with the mean over classes where labels are smoothed."""
        return cross_entropy(logits, targets, self.options.label_smoothing)


@dataclass(frozen=True)
class WeightedCrossEntropyOptions(LossOptions):
    """Cross-entropy weighted by inverse class frequency has no options."""

    name: Literal["weighted_cross_entropy"] = "weighted_cross_entropy"


class WeightedCrossEntropy(CountedLoss[WeightedCrossEntropyOptions]):
    """Cross-entropy weighted by inverse class frequency.

    The mean divides by the sum of weights, as that of `nn.CrossEntropyLoss` does.
    """

    formula = "sum w_y (-log p_y) / sum w_y, w_c = N / (C n_c)"
    reference = "King and Zeng 2001, doi:10.1093/oxfordjournals.pan.a004868"

    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give -log p_y."""
        return cross_entropy(logits, targets)

    def sample_weights(self, targets: Targets) -> PerSample:
        """Give N / (C n_y)."""
        counts = self.class_counts
        return (counts.sum() / (len(counts) * counts))[targets]


@dataclass(frozen=True)
class ClassBalancedOptions(LossOptions):
    """Options of the class-balanced cross-entropy."""

    name: Literal["class_balanced"] = "class_balanced"
    beta: Share = 0.999
    """0 weighs classes equally; towards 1 weights approach inverse class counts. In [0, 1)."""


class ClassBalanced(CountedLoss[ClassBalancedOptions]):
    """Cross-entropy divided by the effective number of samples; the mean over samples is plain."""

    formula = "mean w_y (-log p_y), w_c ~ (1 - beta) / (1 - beta^n_c), sum w_c = C"
    reference = "Cui et al. 2019, equation 7, arXiv:1901.05555"

    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give -w_y log p_y."""
        return class_balanced_weights(self.class_counts, self.options.beta)[targets] * cross_entropy(logits, targets)


@dataclass(frozen=True)
class FocalOptions(LossOptions):
    """Options of the focal loss on softmax probabilities."""

    name: Literal["focal"] = "focal"
    gamma: NotNegative = 2.0
    """How strongly well-classified samples are played down; 0 is cross-entropy."""


class Focal(SampleLoss[FocalOptions]):
    """Cross-entropy that plays down what is classified well already."""

    formula = "mean -(1 - p_y)^gamma log p_y"
    reference = "Lin et al. 2017, equation 4, arXiv:1708.02002"

    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give -(1 - p_y)^gamma log p_y."""
        losses = cross_entropy(logits, targets)
        # 1 - exp(-l) keeps its digits near 0; the floor keeps the slope of x^gamma, gamma < 1, finite there.
        wrong = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).eps)
        return wrong**self.options.gamma * losses


def cross_entropy(logits: Logits, targets: Targets, smoothing: float = 0.0) -> PerSample:
    """Give -log p_y of each sample, for targets smoothed over all classes by that share."""
    return nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)


def class_balanced_weights(counts: ClassCounts, beta: float) -> ClassCounts:
    """Give (1 - beta) / (1 - beta^n_c), normalised so that they sum to C (Cui et al. 2019)."""
    if beta == 0:
        return torch.ones_like(counts)
    weights = 1 / -torch.expm1(counts * math.log(beta))
    return weights * (len(counts) / weights.sum())


@dataclass(frozen=True)
class BrierOptions(LossOptions):
    """Options of the Brier score."""

    name: Literal["brier"] = "brier"
    reduction: Literal["sum", "mean"] = "sum"
    """`sum` grows with the batch, as the cardinality losses do; `mean` divides by the number of samples."""


class Brier(SampleLoss[BrierOptions]):
    """Squared error of the probabilities, summed over the batch by default."""

    formula = "sum |onehot(y) - p|^2"
    reference = "Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2"

    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give |onehot(y) - p|^2."""
        return errors(logits, targets).square().sum(dim=1)

    def average(self, logits: Logits, targets: Targets, weights: PerSample | None = None) -> Scalar:
        """Give the mean over samples, or, by default, that many times it."""
        mean = super().average(logits, targets, weights)
        return mean * len(targets) if self.options.reduction == "sum" else mean


def errors(logits: Logits, targets: Targets) -> Logits:
    """Give onehot(y) - p of each sample (N, C)."""
    return nn.functional.one_hot(targets, logits.shape[1]) - logits.softmax(dim=1)


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
