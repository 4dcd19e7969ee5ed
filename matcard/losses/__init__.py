"""Losses that find the rare class: magnitude and spread of errors and embeddings, and their rivals.

Importing the package loads no torch; using a class does, and nothing heavier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Loss": "base",
        "SampleLoss": "base",
        "CardinalityLoss": "cardinality",
        "MagnitudeLoss": "cardinality",
        "SpreadLoss": "cardinality",
        "CentroidClassifier": "centroid",
        "collapse_advice": "collapse",
        "CardinalityOptions": "options",
        "LossOptions": "options",
        "build_loss": "registry",
        "loss_names": "registry",
        "loss_options": "registry",
        "make_options": "registry",
        "LDAM": "rivals",
        "BalancedSoftmax": "rivals",
        "Brier": "rivals",
        "ClassBalanced": "rivals",
        "CrossEntropy": "rivals",
        "Focal": "rivals",
        "LogitAdjustment": "rivals",
        "WeightedCrossEntropy": "rivals",
        "adjust_logits": "rivals",
    },
)

if TYPE_CHECKING:
    from matcard.losses.base import Loss as Loss
    from matcard.losses.base import SampleLoss as SampleLoss
    from matcard.losses.cardinality import CardinalityLoss as CardinalityLoss
    from matcard.losses.cardinality import MagnitudeLoss as MagnitudeLoss
    from matcard.losses.cardinality import SpreadLoss as SpreadLoss
    from matcard.losses.centroid import CentroidClassifier as CentroidClassifier
    from matcard.losses.collapse import collapse_advice as collapse_advice
    from matcard.losses.options import CardinalityOptions as CardinalityOptions
    from matcard.losses.options import LossOptions as LossOptions
    from matcard.losses.registry import build_loss as build_loss
    from matcard.losses.registry import loss_names as loss_names
    from matcard.losses.registry import loss_options as loss_options
    from matcard.losses.registry import make_options as make_options
    from matcard.losses.rivals import LDAM as LDAM
    from matcard.losses.rivals import BalancedSoftmax as BalancedSoftmax
    from matcard.losses.rivals import Brier as Brier
    from matcard.losses.rivals import ClassBalanced as ClassBalanced
    from matcard.losses.rivals import CrossEntropy as CrossEntropy
    from matcard.losses.rivals import Focal as Focal
    from matcard.losses.rivals import LogitAdjustment as LogitAdjustment
    from matcard.losses.rivals import WeightedCrossEntropy as WeightedCrossEntropy
    from matcard.losses.rivals import adjust_logits as adjust_logits
