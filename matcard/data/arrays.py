"""Images, compositions and table rows as arrays in memory, and batches cut from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from matcard.data.augment import augment
from matcard.data.labelled import LabelledData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Float32, Int, Int64, Shaped
    from torch import Tensor

    from matcard.data.row_columns import RowColumns
    from matcard.data.splits import Split

BYTE = 255.0
"""The largest value of a channel that is stored as a byte."""


@dataclass(frozen=True, eq=False)
class ArrayBatch:
    """B samples.

    Attributes:
        x: (B, F) of rows, (B, channels, height, width) of images; as read, not standardised.
        y: (B,) their classes.
        index: (B,) their positions in the data set.
    """

    x: Float[Tensor, "B ..."]
    y: Int[Tensor, " B"]
    index: Int[Tensor, " B"]

    def to(self, device: torch.device | str, **options: Any) -> ArrayBatch:
        """Give the batch on a device."""
        return ArrayBatch(*(value.to(device, **options) for value in (self.x, self.y, self.index)))


class ArrayDataset(Dataset[ArrayBatch]):
    """Arrays with their targets, from which a `DataLoader` takes a batch in one piece.

    Args:
        inputs: N samples of any number type, memory-mapped or not; batches are float32.
        targets: (N,) their classes.
    """

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


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayData(LabelledData):
    """Labelled images, compositions or table rows.

    Attributes:
        inputs: (N, F) numbers of rows, (N, channels, height, width) of images.
        mean: what the network subtracts from the inputs, of a shape that broadcasts to a sample's.
        std: what it divides them by, of the same shape.
        features: names of the F columns; none for images.
        made_of: the columns of the source that `inputs` were made of; None for images.
        augment: what is done to a training batch.
    """

    inputs: Shaped[np.ndarray, "N ..."]
    mean: Float32[np.ndarray, ...]
    std: Float32[np.ndarray, ...]
    features: tuple[str, ...] = ()
    made_of: RowColumns | None = None
    augment: Literal["none", "flip", "crop-flip"] = "none"

    @property
    def dataset(self) -> ArrayDataset:
        """The arrays with their targets."""
        return ArrayDataset(self.inputs, self.codes)

    @property
    def model_arguments(self) -> dict[str, Any]:
        """The shape of a sample, and what standardises it."""
        return {"input_shape": self.inputs.shape[1:], "mean": self.mean, "std": self.std}

    def augmented(self, batch: ArrayBatch) -> ArrayBatch:
        """Give a training batch with its images mirrored and moved, as `augment` says."""
        return ArrayBatch(augment(batch.x, self.augment), batch.y, batch.index)


def standardisation(
    inputs: Shaped[np.ndarray, "N ..."], split: Split, of: Literal["train", "all", "none"]
) -> tuple[Float32[np.ndarray, ...], Float32[np.ndarray, ...]]:
    """Give mean and deviation of each column of rows, or of each channel of images.

    A column or channel that does not vary is divided by 1, so that it becomes 0.

    Args:
        inputs: N samples.
        split: three parts of them.
        of: the training part, all three parts, or nothing: mean 0 and deviation 1 (255 where inputs are bytes).

    Returns:
        mean and deviation: (F,) of rows, (channels, 1, 1) of images.
    """
    shape = (inputs.shape[1], *(1 for _ in inputs.shape[2:]))
    if of == "none":
        scale = BYTE if inputs.dtype == np.uint8 else 1.0
        return np.zeros(shape, np.float32), np.full(shape, scale, np.float32)
    chosen = split.train if of == "train" else np.concatenate([split.train, split.val, split.test])
    count, total, squares = 0, np.zeros(shape), np.zeros(shape)
    axes = (0, *range(2, inputs.ndim))
    offset = inputs[chosen[:1]].astype(np.float64).mean(axes, keepdims=True)[0]  # so that squares do not cancel
    for part in np.array_split(chosen, max(1, len(chosen) // _PIECE)):
        values = inputs[part].astype(np.float64) - offset
        count += values.size // shape[0]
        total += values.sum(axes, keepdims=True)[0]
        squares += (values**2).sum(axes, keepdims=True)[0]
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    std[std <= _CONSTANT * np.abs(mean + offset)] = 1.0
    return (mean + offset).astype(np.float32), np.where(std == 0, 1.0, std).astype(np.float32)


_PIECE = 4096
"""Samples whose deviations are held in memory at a time."""
_CONSTANT = 1e-9
"""A deviation this small beside the mean is rounding."""
