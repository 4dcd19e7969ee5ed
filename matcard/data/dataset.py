"""The samples of a training in their three parts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from matcard.crystals.crystals import Crystals
from matcard.data.draws import draw_probabilities, points_and_unit
from matcard.errors import InputError
from matcard.invariants import DENSE_LIMIT, SHARES_LIMIT

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int, Int64, Shaped
    from torch import Tensor
    from torch.utils.data import Dataset

    from matcard.data.labels import ValueColumns
    from matcard.data.samples import Samples
    from matcard.data.splits import Split


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Samples without a class that have numbers, and which of them are trained on.

    Attributes:
        rows: positions of U rows of the source.
        samples: those.
        dataset: gives whole batches of them, with an `index`; the same for every division.
        numbers: of the columns of `TrainingSet.values`; NaN where missing.
        chosen: positions of those that share no group with what is validated or tested on.
    """

    rows: Int64[np.ndarray, " U"]
    samples: Samples
    dataset: Dataset[Any]
    numbers: Float64[np.ndarray, "U V"]
    chosen: Int64[np.ndarray, " u"]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Samples with a class, divided: all that training must know of a data set.

    Attributes:
        samples: N of them, none at fault.
        split: positions of the three parts.
        dataset: gives whole batches with `y` and `index`.
        model_arguments: what a network must be told of the data when it is made, beside the number of classes.
        notes: what is odd about the data, a sentence each.
        augment: what is done to a training batch of images.
        values: numbers of each sample that a network can predict, too; None where there are none.
        unlabelled: further samples, of which numbers alone are known; None where none are trained on.
    """

    samples: Samples
    split: Split
    dataset: Dataset[Any]
    model_arguments: dict[str, Any]
    notes: tuple[str, ...] = ()
    augment: Literal["none", "crop-flip"] = "none"
    values: ValueColumns | None = None
    unlabelled: Unlabelled | None = None

    @property
    def codes(self) -> Int64[np.ndarray, " N"]:
        """Their classes."""
        return self.samples.codes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C classes."""
        return self.samples.class_names

    @property
    def unit(self) -> str:
        """What samples are called where they are counted."""
        return self.samples.kind.unit

    @property
    def fingerprint(self) -> str:
        """A line for each of inputs, labels and split with its sha256, by which a resumed run knows its data."""
        inputs = self.samples.inputs
        if isinstance(inputs, Crystals):
            content = inputs.content_digest()
        else:
            sha = hashlib.sha256(f"{inputs.dtype.str} {inputs.shape}".encode())
            sha.update(np.ascontiguousarray(inputs).data)
            content = sha.hexdigest()
        told: list[Any] = [self.samples.ids.tolist(), self.codes.tolist(), list(self.class_names)]
        if self.unlabelled is not None:
            told += [self.unlabelled.samples.ids.tolist(), self.unlabelled.numbers.tolist()]
        digests = {
            self.unit: content,
            "labels": hashlib.sha256(json.dumps(told).encode()).hexdigest(),
            "split": hashlib.sha256(self.split.to_json(self.samples.ids).encode()).hexdigest(),
        }
        return "\n".join(f"{digest}  {name}" for name, digest in digests.items())

    def draws(self, sampler: str, scale: float, by_class: bool) -> Float64[np.ndarray, " n"]:
        """Give the probability with which each sample of the training part is drawn.

        Args:
            sampler: what decides; see `matcard.data.draws.DrawKind`.
            scale: of distances, in units of the median distance between families.
            by_class: compare samples with those of their own class alone.

        Raises:
            InputError: what such samples have not is needed, or there are too many.
        """
        if sampler == "magnitude" and len(self.split.train) > DENSE_LIMIT:
            raise InputError(
                f"--trainer.sampler magnitude keeps the similarities of all pairs, of {DENSE_LIMIT:,} samples at most, "
                f"and there are {len(self.split.train):,} training {self.unit}: take --trainer.sampler spread, which "
                f"goes to {SHARES_LIMIT:,}, or fewer of them by --data.imbalance.samples {DENSE_LIMIT}"
            )
        # Of crystals without descriptors distances take long, and formulas do without.
        points, length = (None, 1.0) if sampler == "formula" else self.distances
        classes = self.codes[self.split.train] if by_class else None
        found = draw_probabilities(
            sampler, points=points, formulas=self.families, classes=classes, scale=scale, length=length
        )
        codes = self.codes[self.split.train]
        never = (np.bincount(codes, weights=found) == 0) & (np.bincount(codes) > 0)
        if never.any():
            raise InputError(
                f"--trainer.sampler {sampler} draws no sample of class {self.class_names[never.argmax()]!r}, since "
                "all have weight 0: take a larger --trainer.sampler_scale, --trainer.sampler_by class, or spread"
            )
        return found

    @property
    def distances_at_hand(self) -> bool:
        """Whether nothing has to be computed of the samples before their distances."""
        crystals = isinstance(self.samples.inputs, Crystals)
        return "distances" in self.__dict__ or not crystals or self._descriptors is not None

    @cached_property
    def distances(self) -> tuple[Float64[Tensor, "n F"] | None, float]:
        """The samples of the training part as points, None where they have no numbers; and the unit of distances.

        Raises:
            InputError: too many samples.
        """
        train, descriptors = self.split.train, self._descriptors
        if len(train) > SHARES_LIMIT:
            raise InputError(
                f"what is distinct is told by the distances of all pairs, of {SHARES_LIMIT:,} samples at most, and "
                f"there are {len(train):,} training {self.unit}: --data.imbalance.samples {SHARES_LIMIT} takes fewer, "
                "--trainer.sampler formula needs no distances"
            )
        part = None if descriptors is None else descriptors[torch.from_numpy(train)]
        return points_and_unit(self.samples.kind, self.samples.take(train), part)

    @cached_property
    def families(self) -> Shaped[np.ndarray, " n"] | None:
        """The families that the samples of the training part are of; None where nothing is known of that."""
        return self.samples.kind.families(self.samples.take(self.split.train))

    @property
    def _descriptors(self) -> Float32[Tensor, "N D"] | None:
        return getattr(self.dataset, "descriptors", None)

    def augmented(self, batch: Any) -> Any:
        """Give a training batch as the network is to see it; draws from torch's generator."""
        return batch if self.augment == "none" else replace(batch, x=augment(batch.x))


PAD = 4
"""Pixels of black that an image is given on each side before it is cut out anew."""


def augment(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Change images at random as He et al. (CVPR 2016) do to CIFAR; draws from the generator of the CPU.

    They are given 4 pixels of black on each side and cut to the old size anywhere in that; one in two is mirrored.
    """
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


def changed(before: str, now: str) -> list[str]:
    """Name what differs between two fingerprints."""
    return [line.split()[-1] for line in now.splitlines() if line not in before.splitlines()]


def standardisation(
    inputs: Shaped[np.ndarray, "N ..."], train: Int[np.ndarray, " n"]
) -> tuple[Float32[np.ndarray, ...], Float32[np.ndarray, ...]]:
    """Give mean and deviation in the training part of each column of rows, or of each channel of images.

    A column or channel that does not vary is divided by 1, so that it becomes 0.

    Args:
        inputs: N samples.
        train: positions of the training part.

    Returns:
        mean and deviation: (F,) of rows, (channels, 1, 1) of images.
    """
    shape = (inputs.shape[1], *(1 for _ in inputs.shape[2:]))
    scaler = StandardScaler()
    for part in np.array_split(train, max(1, len(train) // _PIECE)):
        values = np.moveaxis(inputs[part].astype(np.float64), 1, -1)
        scaler.partial_fit(values.reshape(-1, inputs.shape[1]))
    return scaler.mean_.reshape(shape).astype(np.float32), scaler.scale_.reshape(shape).astype(np.float32)


_PIECE = 4096
"""Samples whose deviations are held in memory at a time."""
