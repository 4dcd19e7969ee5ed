"""The frame of a network on arrays: images, compositions, table rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from matcard.models.base import Classifier, M

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from jaxtyping import Float
    from torch import Tensor


class ArrayModel(Classifier[M]):
    """A network whose batch has `x` (N, F) of rows or (N, channels, height, width) of images, not standardised.

    Mean and deviation are held as buffers, so that a checkpoint carries those of the data it was trained on, and
    weights to start from bring theirs.

    Args:
        input_shape: shape of a sample.
        mean: what is subtracted from a sample, of a shape that broadcasts to its; nothing where not given.
        std: what it is divided by.
    """

    constants: ClassVar[frozenset[str]] = frozenset({"mean", "std"})
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        mean: Float[np.ndarray, ...] | None = None,
        std: Float[np.ndarray, ...] | None = None,
    ) -> None:
        super().__init__()
        shape = (input_shape[0], *(1 for _ in input_shape[1:]))
        for name, given, otherwise in (("mean", mean, torch.zeros(shape)), ("std", std, torch.ones(shape))):
            value = otherwise if given is None else torch.as_tensor(given, dtype=torch.float32).reshape(shape).clone()
            self.register_buffer(name, value)

    def standardised(self, batch: Any) -> Float[Tensor, "N ..."]:
        """Give the samples of a batch with mean 0 and deviation 1, as far as the training part tells."""
        x: Tensor = batch.x
        return (x - self.mean) / self.std
