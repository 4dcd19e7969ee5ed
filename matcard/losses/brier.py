"""The Brier score: the squared error of the probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from matcard.losses.base import Logits, LossOptions, PerSample, SampleLoss, Scalar, Targets


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
