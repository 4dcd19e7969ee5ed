"""Losses that find the rare class: magnitude and spread of errors and embeddings, and their rivals.

Each file holds a loss or a small family: options, formula, reference and code. A subclass of `Loss` is known by its
name from where it is defined on. Needs torch, and nothing heavier.
"""

from matcard.losses.base import Loss, LossOptions, SampleLoss, build_loss, make_options
from matcard.losses.cross_entropy import (
    LDAM,
    BalancedSoftmax,
    Brier,
    ClassBalanced,
    CrossEntropy,
    Focal,
    LogitAdjustment,
    WeightedCrossEntropy,
)
from matcard.losses.effective_number import EffectiveNumber
from matcard.losses.error import ErrorLoss, MagnitudeLoss, SpreadLoss
from matcard.losses.per_class import PerClass
from matcard.losses.reweight import Reweight
from matcard.losses.triplets import TripletLoss

__all__ = [
    "LDAM",
    "BalancedSoftmax",
    "Brier",
    "ClassBalanced",
    "CrossEntropy",
    "EffectiveNumber",
    "ErrorLoss",
    "Focal",
    "LogitAdjustment",
    "Loss",
    "LossOptions",
    "MagnitudeLoss",
    "PerClass",
    "Reweight",
    "SampleLoss",
    "SpreadLoss",
    "TripletLoss",
    "WeightedCrossEntropy",
    "build_loss",
    "make_options",
]
