"""Which classes are rare: minority classes, and many-, medium- and few-shot groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np

from matcard.evaluation.confusion import Counts, mean_recall

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

MANY_SHOT = 100
FEW_SHOT = 20
"""More than 100 training samples: many; fewer than 20: few (Z. Liu et al., OLTR, CVPR 2019)."""


class ShotRecall(TypedDict):
    """Mean recall of a group (NaN without support), over `classes_with_support` of its `classes`."""

    recall: float
    classes: int
    classes_with_support: int


def minority_mask(train_counts: Int[np.ndarray, " C"]) -> Bool[np.ndarray, " C"]:
    """Say which classes have a share of the training part below 1/C."""
    # In whole numbers where the counts are whole: C equal counts must not differ from 1/C by rounding.
    return np.asarray(train_counts * len(train_counts) < train_counts.sum())


def shot_recall(confusion: Int[np.ndarray, "C C"], train_counts: Int[np.ndarray, " C"]) -> dict[str, ShotRecall]:
    """Give mean recall over the classes with many, medium and few training samples.

    Args:
        confusion: counts, row = true class.
        train_counts: class counts of the training part.
    """
    counts = Counts.of(confusion)
    groups = {
        "many": train_counts > MANY_SHOT,
        "medium": (train_counts >= FEW_SHOT) & (train_counts <= MANY_SHOT),
        "few": train_counts < FEW_SHOT,
    }
    return {
        name: ShotRecall(
            recall=float(mean_recall(counts, mask)),
            classes=int(mask.sum()),
            classes_with_support=int((mask & counts.present).sum()),
        )
        for name, mask in groups.items()
    }
