"""Samples in batches, which go to a device together, the data set that cuts them from arrays, and standard numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from jaxtyping import Float, Float64, Int, Int64, Shaped

CLIP = 5.0
"""Standardised numbers further from 0 are cut to this."""
_DIGEST = 8
"""Bytes that tell samples apart."""


@dataclass(eq=False)
class Batch:
    """What a data set gives at once; a subclass says which tensors there are, None for those that are not."""

    def to(self, device: torch.device | str, **options: Any) -> Self:
        """Give the batch on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device, **options) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)


@dataclass(eq=False)
class ArrayBatch(Batch):
    """B samples.

    Attributes:
        x: (B, F) of rows, (B, channels, height, width) of images; as read, not standardised.
        y: (B,) their classes.
        index: (B,) their positions in the data set.
        numbers: (B, V) to predict, standardised; NaN where missing, None where there are none.
    """

    x: Float[Tensor, "B ..."]
    y: Int[Tensor, " B"]
    index: Int[Tensor, " B"]
    numbers: Float[Tensor, "B V"] | None = None

    @property
    def descriptors(self) -> Float[Tensor, "B F"]:
        """`x` by the name that it has where crystals are their descriptors alone."""
        return self.x


class ArrayDataset(Dataset[ArrayBatch]):
    """Arrays with their targets, from which a `DataLoader` takes a batch in one piece.

    Args:
        inputs: N samples of any number type, memory-mapped or not; batches are float32.
        targets: (N,) their classes.
    """

    descriptors: Float[Tensor, "N D"] | None = None
    """The inputs by the name that they have beside graphs, where crystals are their descriptors alone."""

    def __init__(self, inputs: Shaped[np.ndarray, "N ..."], targets: Int64[np.ndarray, " N"]) -> None:
        self.inputs = inputs
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> ArrayBatch:
        """Give one sample, as a batch."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> ArrayBatch:
        """Give the samples at `indices` as a batch."""
        index = np.asarray(indices, dtype=np.int64)
        x = np.asarray(self.inputs[index], dtype=np.float32)
        return ArrayBatch(*map(torch.from_numpy, (x, self.targets[index], index)))


def digests(inputs: Shaped[np.ndarray, "N ..."]) -> list[str]:
    """Tell samples by a digest of their numbers as a network sees them, in single precision."""
    rows = np.ascontiguousarray(inputs, dtype="<f4") + np.float32(0)  # -0 is 0
    return [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST).hexdigest() for row in rows]


class Standard(NamedTuple):
    """Mean and deviation of F columns, as the training part has them.

    Attributes:
        mean: (F,).
        deviation: (F,), 1 where a column is constant.
    """

    mean: Float64[np.ndarray, " F"]
    deviation: Float64[np.ndarray, " F"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "n F"]) -> Standard:
        """Take them of n samples of the training part.

        Raises:
            InputError: no samples, or numbers that are not finite.
        """
        numbers = np.asarray(values, dtype=np.float64)
        if len(numbers) == 0 or not np.isfinite(numbers).all():
            raise InputError("numbers to be standardised need one training sample at least, and finite values")
        mean, deviation = numbers.mean(axis=0), numbers.std(axis=0)
        # Rounding gives a constant column another mean and some deviation.
        constant = deviation <= 1e-7 * np.abs(numbers).max(axis=0)
        return cls(np.where(constant, numbers[0], mean), np.where(constant, 1.0, deviation))

    def __call__(self, values: Float[np.ndarray, "N F"]) -> Float64[np.ndarray, "N F"]:
        """Give N samples with mean 0 and deviation 1, as far as the training part tells, clipped at 5."""
        numbers: Float64[np.ndarray, "N F"] = (np.asarray(values, np.float64) - self.mean) / self.deviation
        return numbers.clip(-CLIP, CLIP)


def standardised(values: Float[np.ndarray, "n F"], by: Int[np.ndarray, " m"] | None = None) -> Float64[Tensor, "n F"]:
    """Give samples as points for distances, each column standardised by those at the positions `by`, or by all."""
    numbers = np.asarray(values, np.float64)
    return torch.from_numpy(Standard.of(numbers if by is None else numbers[by])(numbers))


def directions(values: Float[np.ndarray, "n F"], by: Int[np.ndarray, " m"] | None = None) -> Float64[Tensor, "n F"]:
    """Give samples as points for distances: standardised, and of unit length (or zero).

    Where one family of near copies is most of the samples, standardising by all puts it at 0, and the unit length makes
    the largest distances of its small differences: standardise by one of each family.
    """
    return torch.nn.functional.normalize(standardised(values, by), dim=1)
