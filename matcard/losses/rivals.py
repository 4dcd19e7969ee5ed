"""The losses that others have proposed for rare classes, to the letter, and cross-entropy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from matcard.errors import InputError
from matcard.losses.base import SampleLoss, checked_counts
from matcard.losses.options import (
    BalancedSoftmaxOptions,
    BrierOptions,
    ClassBalancedOptions,
    CrossEntropyOptions,
    FocalOptions,
    LDAMOptions,
    LogitAdjustmentOptions,
    WeightedCrossEntropyOptions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.base import Terms


class CrossEntropy(SampleLoss[CrossEntropyOptions]):
    """Mean -log p_y, as `nn.CrossEntropyLoss`."""

    name = "cross_entropy"

    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give -log p_y, or its mixture with the mean over classes where labels are smoothed."""
        return nn.functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=self.options.label_smoothing
        )


class WeightedCrossEntropy(SampleLoss[WeightedCrossEntropyOptions]):
    """Cross-entropy weighted by inverse class frequency, w_c = N / (C n_c) (King and Zeng 2001).

    The mean divides by the sum of weights, as that of `nn.CrossEntropyLoss` does.
    """

    name = "weighted_cross_entropy"

    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give -log p_y."""
        return cross_entropy(logits, targets)

    def sample_weights(self, targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give N / (C n_y)."""
        counts = self.counts()
        return (counts.sum() / (len(counts) * counts))[targets]


class ClassBalanced(SampleLoss[ClassBalancedOptions]):
    """Cross-entropy divided by the effective number of samples (Cui et al. 2019, equation 7).

    w_c ~ (1 - beta) / (1 - beta^n_c), normalised so that they sum to C; the mean over samples is plain.
    """

    name = "class_balanced"

    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give -w_y log p_y."""
        weights = class_balanced_weights(self.counts(), self.options.beta)
        return weights[targets] * cross_entropy(logits, targets)


class Focal(SampleLoss[FocalOptions]):
    """Mean -(1 - p_y)^gamma log p_y on softmax probabilities (Lin et al. 2017, equation 4)."""

    name = "focal"

    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give -(1 - p_y)^gamma log p_y."""
        losses = cross_entropy(logits, targets)
        # 1 - exp(-l) keeps its digits near 0; the floor keeps the slope of x^gamma, gamma < 1, finite there.
        wrong = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).eps)
        return wrong**self.options.gamma * losses


class LDAM(SampleLoss[LDAMOptions]):
    """Label-distribution-aware margins with deferred reweighting (Cao et al. 2019, equations 13 and 14).

    The logit of the true class is lowered by m_y ~ n_y^(-1/4), `max_margin` for the rarest class, and all
    are multiplied by `logit_scale`. From epoch `drw_start` x epochs on, samples have class-balanced
    weights, and the mean divides by their sum, as the published code does. There the head is a cosine one.
    """

    name = "ldam"

    def __init__(
        self,
        options: LDAMOptions | None = None,
        *,
        class_counts: Sequence[int] | None = None,
        seed: int = 0,
        **changes: float,
    ) -> None:
        super().__init__(options, class_counts=class_counts, seed=seed, **changes)
        self._reweighting = self.options.drw_start == 0

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Begin to reweight when it is time."""
        self._reweighting = epoch >= self.options.drw_start * epochs

    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give the cross-entropy of s (z - m_y onehot(y))."""
        margins = self.counts() ** -0.25
        margins = (margins * (self.options.max_margin / margins.max())).to(logits.dtype)
        shift = nn.functional.one_hot(targets, logits.shape[1]) * margins[targets, None]
        return cross_entropy(self.options.logit_scale * (logits - shift), targets)

    def sample_weights(self, targets: Int[Tensor, " N"]) -> Float[Tensor, " N"] | None:
        """Give class-balanced weights once reweighting has begun."""
        if not self._reweighting:
            return None
        return class_balanced_weights(self.counts(), self.options.beta)[targets]


class BalancedSoftmax(SampleLoss[BalancedSoftmaxOptions]):
    """Cross-entropy of z + log n (Ren et al. 2020, equation 4)."""

    name = "balanced_softmax"

    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give the cross-entropy of z + log n."""
        return cross_entropy(logits + self.counts().log(), targets)


class LogitAdjustment(SampleLoss[LogitAdjustmentOptions]):
    """Cross-entropy of z + tau log prior (Menon et al. 2021, equation 10)."""

    name = "logit_adjustment"

    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give the cross-entropy of z + tau log(n / sum n)."""
        counts = self.counts()
        return cross_entropy(logits + self.options.tau * (counts / counts.sum()).log(), targets)


class Brier(SampleLoss[BrierOptions]):
    """Squared error of the probabilities (Brier 1950), summed over the batch by default."""

    name = "brier"

    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give |onehot(y) - p|^2."""
        return errors(logits, targets).square().sum(dim=1)

    def compute(
        self,
        logits: Float[Tensor, "N C"],
        targets: Int[Tensor, " N"],
        embeddings: Float[Tensor, "N F"] | None,
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the sum or the mean over samples."""
        losses = self.per_sample(logits, targets)
        loss = losses.sum() if self.options.reduction == "sum" else losses.mean()
        return loss, {"base": loss}


def cross_entropy(logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Give -log p_y of each sample."""
    return nn.functional.cross_entropy(logits, targets, reduction="none")


def errors(logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, "N C"]:
    """Give onehot(y) - p of each sample."""
    return nn.functional.one_hot(targets, logits.shape[1]) - logits.softmax(dim=1)


def class_balanced_weights(counts: Float[Tensor, " C"], beta: float) -> Float[Tensor, " C"]:
    """Give (1 - beta) / (1 - beta^n_c), normalised so that they sum to C (Cui et al. 2019)."""
    if beta == 0:
        return torch.ones_like(counts)
    weights = 1 / -torch.expm1(counts * math.log(beta))
    return weights * (len(counts) / weights.sum())


def adjust_logits(logits: Float[Tensor, "N C"], class_counts: Sequence[int], tau: float = 1.0) -> Float[Tensor, "N C"]:
    """Adjust logits after training: z - tau log prior (Menon et al. 2021, equation 9).

    Args:
        logits: logits of a network trained with plain cross-entropy.
        class_counts: training samples of each class; 0 is taken for 1, with a warning.
        tau: strength; 1 aims at balanced error.

    Raises:
        InputError: counts that are negative, not finite, or not as many as the logits have classes.

    Examples:
        >>> adjust_logits(torch.zeros(1, 2), [3, 1]).argmax().item()
        1
    """
    counts = checked_counts(class_counts, warn=True).double()
    if len(counts) != logits.shape[-1]:
        raise InputError(f"class_counts are of {len(counts)} classes, and the logits have {logits.shape[-1]}")
    return logits - tau * (counts / counts.sum()).log().to(logits)
