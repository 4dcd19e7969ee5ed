"""The residual network for small images that the long-tail literature trains on CIFAR."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import nn

from matcard.errors import InputError
from matcard.models.base import ArrayModel, ModelOptions
from matcard.options import AtLeastOne

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from jaxtyping import Float
    from torch import Tensor

_SMALLEST = 5  # pixels; less is one pixel after halving twice, which has no variance for batch norm


@dataclass(frozen=True)
class ResNetOptions(ModelOptions):
    """The residual network for small images of He et al. (CVPR 2016), as the long-tail literature uses it."""

    takes: ClassVar[tuple[str, ...]] = ("images",)

    name: Literal["resnet"] = "resnet"
    depth: int = 32
    """Number of layers with weights: 8, 14, 20, 26, 32, ... (6n + 2); 32 on CIFAR."""
    width: AtLeastOne = 16
    """Channels of the first stage; the embedding has four times as many numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 8 or (self.depth - 2) % 6:
            raise InputError(f"--model.depth is {self.depth}: expected 8, 14, 20, 26, 32 or another 6n + 2")


class ResNet(ArrayModel[ResNetOptions]):
    """ResNet of depth 6n + 2 (He et al., CVPR 2016, section 4.2): three stages of n blocks, global mean, head.

    A 3 x 3 convolution to `width` channels; stages of `width`, 2 `width` and 4 `width` channels, the second and
    third at half the resolution of the one before; weights drawn as by He et al., ICCV 2015. The embedding is the mean
    over the last maps, (N, 4 width).

    Args:
        options: depth, width.
        num_classes: C.
        input_shape: (channels, height, width) of an image.
        standard: `mean` and `std` of each channel, see `ArrayModel`.

    Raises:
        InputError: samples that are no images, or smaller than 5 pixels.
    """

    def __init__(
        self,
        options: ResNetOptions,
        num_classes: int,
        input_shape: Sequence[int],
        **standard: Float[np.ndarray, "C 1 1"],
    ) -> None:
        if len(input_shape) != 3 or min(input_shape[1:]) < _SMALLEST:
            raise InputError(
                f"--model.name resnet takes images of {_SMALLEST} x {_SMALLEST} pixels or more; a sample has the "
                f"shape {tuple(input_shape)}"
            )
        super().__init__(input_shape, **standard)
        blocks = (options.depth - 2) // 6
        self.conv = nn.Conv2d(input_shape[0], options.width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(options.width)
        widths = [options.width, options.width, 2 * options.width, 4 * options.width]
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(before if k == 0 else after, after) for k in range(blocks)))
            for before, after in pairwise(widths)
        )
        self.fc_out = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def encode(self, batch: Any) -> Float[Tensor, "N F"]:
        """Give the embedding of each image."""
        maps = self.norm(self.conv(self.standardised(batch))).relu()
        for stage in self.stages:
            maps = stage(maps)
        return maps.mean((2, 3))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Where the number of channels grows, the first convolution halves the resolution, and the shortcut takes every second
    pixel and fills the new channels up with zeros, half of them on each side (option A of He et al.).

    Args:
        before: channels of the input.
        after: channels of the output.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride = 1 if before == after else 2
        self.conv1 = nn.Conv2d(before, after, 3, self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.added = (after - before) // 2

    def forward(self, maps: Float[Tensor, "N before H W"]) -> Float[Tensor, "N after h w"]:
        """Give the maps of the next block."""
        inner = self.norm2(self.conv2(self.norm1(self.conv1(maps)).relu()))
        kept = maps[:, :, :: self.stride, :: self.stride]
        return (inner + nn.functional.pad(kept, (0, 0, 0, 0, self.added, self.added))).relu()  # type: ignore[no-any-return]
