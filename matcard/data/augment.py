"""Random changes of training images, on whole batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

PAD = 4
"""Pixels of black that an image is given on each side before it is cut out anew."""


def augment(images: Float[Tensor, "B C H W"], kind: str) -> Float[Tensor, "B C H W"]:
    """Change images at random, as `DataOptions.augment` says; draws from the generator of the CPU.

    `crop-flip` is what He et al. (CVPR 2016) do to CIFAR: 4 pixels of black on each side, a cut of the old size
    anywhere in that, and one image in two mirrored.
    """
    if kind == "none":
        return images
    if kind == "crop-flip":
        rows, columns = torch.randint(2 * PAD + 1, (2, len(images)))
        images = cropped(images, rows.to(images.device), columns.to(images.device))
    mirrored = (torch.rand(len(images)) < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def cropped(
    images: Float[Tensor, "B C H W"], rows: Int[Tensor, " B"], columns: Int[Tensor, " B"]
) -> Float[Tensor, "B C H W"]:
    """Cut each image out of itself framed in black, from its own row and column of the frame on (0 to 2 * PAD)."""
    batch, _, height, width = images.shape
    framed = torch.nn.functional.pad(images, (PAD, PAD, PAD, PAD))
    which = torch.arange(batch, device=images.device)[:, None, None]
    down = (rows[:, None] + torch.arange(height, device=images.device))[:, :, None]
    across = (columns[:, None] + torch.arange(width, device=images.device))[:, None, :]
    # Indices on both sides of a slice put what they pick first: (B, H, W, C).
    return framed[which, :, down, across].movedim(3, 1)
