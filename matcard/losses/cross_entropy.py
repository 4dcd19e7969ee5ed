"""Cross-entropy, and what weighs its terms: class counts, or how well a sample is classified already."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from matcard.losses.base import ClassCounts, CountedLoss, Logits, LossOptions, PerSample, SampleLoss, Targets
from matcard.options import NotNegative, Share


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
