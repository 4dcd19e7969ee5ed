"""Batches of the three parts of a data set, the same for crystals, images and table rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, Sampler

from matcard.data.draws import FEW, Distinct, EpochSampler, by_class, by_probability
from matcard.models.value import ValueScale
from matcard.training.options import BY_CLASS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float32, Float64, Int
    from torch.utils.data import Dataset

    from matcard.data.dataset import TrainingSet
    from matcard.training.options import Config


MOST_UNLABELLED = 7
"""So many times the samples of a batch stand without a class beside it at most (as in FixMatch, arXiv:2001.07685)."""


@dataclass(eq=False)
class GlobalBatches(Sampler[list[int]]):
    """Cuts a sampler's order into global batches and gives this rank its share of each.

    The ranks' shares of a batch differ by one sample at most, and none is empty: a last batch too small to share
    (or of one sample, on which batch norm has no variance) joins the one before it.

    Args:
        sampler: gives positions; Lightning calls its `set_epoch`.
        indices: what the positions stand for in the data set.
        batch_size: samples a rank and step.
    """

    sampler: Sampler[int]
    indices: Int[np.ndarray, " n"]
    batch_size: int
    rank: int = 0
    ranks: int = 1

    def _starts(self) -> list[int]:
        total, size = len(self.indices), self.batch_size * self.ranks
        starts = list(range(0, total, size))
        if len(starts) > 1 and total - starts[-1] < max(2, self.ranks):
            starts.pop()
        return starts

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[list[int]]:
        order = self.indices[np.fromiter(self.sampler, np.int64)]
        for batch in np.split(order, self._starts()[1:]):
            yield [int(i) for i in batch[self.rank :: self.ranks]]


class DataModule(lightning.LightningDataModule):
    """Train, validation and test batches, with what a loss and a report must know of the classes.

    Args:
        divided: the samples, their classes and the three parts.
        config: batch size, sampler and workers, what is learned of numbers, and the seed of the order.
    """

    def __init__(self, divided: TrainingSet, config: Config) -> None:
        super().__init__()
        self.set = divided
        self.dataset = divided.dataset
        split = divided.split
        self.parts = {"train": split.train, "val": split.val, "test": split.test}
        self.codes = divided.codes
        self.class_names = divided.class_names
        self.options = config.trainer
        self.seed = config.seed
        self.values = divided.values if config.value.weight else None
        self.scale: ValueScale | None = None
        self.targets: Float32[np.ndarray, "N V"] | None = None
        if self.values is not None:
            transform = config.value.transform if self.values.edges else "none"
            more = divided.unlabelled
            seen = [self.values.numbers[split.train], *([] if more is None else [more.numbers[more.chosen]])]
            self.scale = ValueScale.fit(np.concatenate(seen), self.values.names, transform)
            self.targets = self.scale.targets(self.values.numbers)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> Int[np.ndarray, " C"]:
        """The number of samples of each class in the training part."""
        return self.count("train")

    @cached_property
    def draws(self) -> Float64[np.ndarray, " n"] | None:
        """The probability with which each training sample is drawn; None where the order goes by classes alone.

        Raises:
            InputError: a sampler that needs what such samples have not, or too many samples.
        """
        if self.options.sampler in BY_CLASS:
            return None
        return self.set.draws(self.options.sampler, self.options.sampler_scale, self.options.sampler_by == "class")

    @property
    def drawn_counts(self) -> Float64[np.ndarray, " C"]:
        """The number of samples of each class that losses and rules take for the training's: drawn or counted.

        Where samples are drawn by what is distinct, those that an epoch draws on average. Where classes are drawn
        (square-root, class-aware) or all come once, those there are: a loss that counts classes is told of the data.
        """
        if self.draws is None:
            return self.class_counts.astype(np.float64)
        codes = self.codes[self.parts["train"]]
        return len(codes) * np.bincount(codes, weights=self.draws, minlength=self.num_classes)

    @cached_property
    def distinct(self) -> Distinct | None:
        """How many distinct samples of each class the training part holds, at the sampler's scale.

        None where nobody has asked and it would take long: it is counted where the sampler takes distances, and without
        such a sampler where numbers are at hand (columns of rows, descriptors of crystals) of 4,000 samples at most.
        Magpie features, which stand in for descriptors, take some 2 ms a formula and are not made for it. None of
        images, too.
        """
        by_distance = self.options.sampler not in (*BY_CLASS, "formula")
        few = len(self.parts["train"]) <= FEW and self.set.distances_at_hand
        points, length = self.set.distances if by_distance or few else (None, 1.0)
        if points is None:
            return None
        codes = self.codes[self.parts["train"]]
        return Distinct.count(points, codes, self.class_names, scale=self.options.sampler_scale, length=length)

    def count(self, part: str) -> Int[np.ndarray, " C"]:
        """Count the samples of each class in a part."""
        return np.bincount(self.codes[self.parts[part]], minlength=self.num_classes)

    def train_dataloader(self) -> Any:
        """Give the training batches, in an order that seed and epoch decide.

        Where there are samples without a class, pairs: a batch, and one of those, or None for more steps than samples.
        All of them come in an epoch, unless that took more than `MOST_UNLABELLED` batches of them a step.
        """
        indices = self.parts["train"]
        if self.draws is None:
            draw = partial(by_class, self.codes[indices], self.options.sampler)
        else:
            draw = partial(by_probability, self.draws)
        sampler = EpochSampler(len(indices), draw, seed=self.seed)
        batches = GlobalBatches(sampler, indices, self.options.batch_size, *self._rank())
        loader, more = self._loader(self.dataset, batches, self.targets), self.set.unlabelled
        ranks = self._rank()[1]
        if more is None or self.scale is None or len(more.chosen) < ranks:
            return loader
        order = EpochSampler(len(more.chosen), partial(by_class, more.chosen, "shuffle"), seed=self.seed)
        size = min(-(-len(more.chosen) // (len(batches) * ranks)), MOST_UNLABELLED * self.options.batch_size)
        beside = GlobalBatches(order, more.chosen, size, *self._rank())
        second = self._loader(more.dataset, beside, self.scale.targets(more.numbers))
        return CombinedLoader([loader, second], "min_size" if len(beside) > len(batches) else "max_size")

    def val_dataloader(self) -> DataLoader[Any]:
        """Give this rank's share of the validation batches."""
        return self.eval_dataloader("val", *self._rank())

    def eval_dataloader(self, part: str, rank: int = 0, ranks: int = 1) -> DataLoader[Any]:
        """Give the samples of a part once each, in order, those of one rank."""
        indices = self.parts[part][rank::ranks]
        batches = np.split(indices, range(self.options.batch_size, len(indices), self.options.batch_size))
        return self._loader(self.dataset, [batch.tolist() for batch in batches], self.targets)

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(
        self, dataset: Dataset[Any], batches: Any, targets: Float32[np.ndarray, "N V"] | None
    ) -> DataLoader[Any]:
        workers = self.options.workers
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=partial(_with_numbers, targets),
            num_workers=workers,
            persistent_workers=workers > 0,
        )


def _with_numbers(numbers: Float32[np.ndarray, "N V"] | None, batch: Any) -> Any:
    """Add the numbers to be predicted, standardised, to a batch, which the data set gives whole."""
    if numbers is not None:
        batch.numbers = torch.from_numpy(numbers[batch.index.numpy()])
    return batch
