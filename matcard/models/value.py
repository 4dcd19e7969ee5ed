"""The number behind the classes, and other numbers of the same samples, as targets beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Float32, Float64
    from torch import Tensor

Transform: TypeAlias = Literal["none", "log1p"]


@dataclass(frozen=True)
class ValueScale:
    """What a network predicts in place of V numbers: the first one transformed, all standardised by the training part.

    Attributes:
        names: the V columns; the first is the one behind the classes, where there is one.
        transform: of the first.
        mean: of each after that, in the training part.
        deviation: of each after that, in the training part.
    """

    names: tuple[str, ...]
    transform: Transform
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def fit(cls, numbers: Float[np.ndarray, "n V"], names: Sequence[str], transform: Transform = "none") -> ValueScale:
        """Take it from the training part.

        Args:
            numbers: as the source has them; NaN where missing.
            names: of the V columns.
            transform: of the first.

        Raises:
            InputError: a column without two different numbers, or `log1p` of numbers of -1 or less.
        """
        unscaled = cls(tuple(names), transform, (0.0,) * len(names), (1.0,) * len(names))
        targets = unscaled.targets(numbers).astype(np.float64)
        mean, deviation = [], []
        for name, column in zip(names, targets.T, strict=True):
            present = column[np.isfinite(column)]
            if len(present) < 2 or np.ptp(present) == 0:
                raise InputError(
                    f"column {name!r} has no two different numbers in the training part, so that there is nothing to "
                    "learn: leave it out of --data.auxiliary, or set --value.weight 0"
                )
            mean.append(float(present.mean()))
            deviation.append(float(present.std()))
        return cls(tuple(names), transform, tuple(mean), tuple(deviation))

    def targets(self, numbers: Float[np.ndarray, "N V"]) -> Float32[np.ndarray, "N V"]:
        """Give what the network is to predict; NaN where a number is missing.

        Raises:
            InputError: `log1p` of numbers of -1 or less.
        """
        values = np.array(numbers, dtype=np.float64)
        if self.transform == "log1p":
            if (values[:, 0] <= -1).any():
                raise InputError(
                    f"--value.transform log1p: column {self.names[0]!r} holds {np.nanmin(values[:, 0]):g}, and "
                    "log(1 + x) needs numbers above -1: take none"
                )
            values[:, 0] = np.log1p(values[:, 0])
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def numbers(self, predicted: Float[np.ndarray, "N V"]) -> Float64[np.ndarray, "N V"]:
        """Give the numbers, in the source's units, of what the network predicts."""
        values: Float64[np.ndarray, "N V"] = np.asarray(predicted, np.float64) * self.deviation + self.mean
        if self.transform == "log1p":
            values[:, 0] = np.expm1(values[:, 0])
        return values


def value_loss(predicted: Float[Tensor, "N V"], targets: Float[Tensor, "N V"]) -> Float[Tensor, ""]:
    """Give the sum over columns of the mean Huber loss (Ann. Math. Stat. 35, 73, 1964) of the numbers that there are.

    It is quadratic up to one deviation of the training part and linear beyond.

    Args:
        predicted: standardised numbers.
        targets: the same as they are; NaN where missing. A column without any number adds 0.
    """
    present = targets.isfinite()
    errors = torch.nn.functional.huber_loss(predicted, torch.where(present, targets, predicted), reduction="none")
    return (errors.sum(0) / present.sum(0).clamp(min=1)).sum()
