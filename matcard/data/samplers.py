"""The order in which training samples come: each once, or rare classes more often than they occur."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Float, Int

POWERS = {"shuffle": None, "square-root": 0.5, "class-aware": 0.0}
"""Classes are drawn in proportion to their count to this power; None takes each sample once."""


class EpochSampler(Sampler[int]):
    """Give as many positions an epoch as there are samples, in an order that seed and epoch decide.

    So a resumed run sees what an uninterrupted one would have seen, and all processes of a distributed run
    see the same. Lightning calls `set_epoch` before each epoch; a hand-written loop has to.

    Args:
        number: of samples.
        seed: seeds the order, together with the epoch; 0 or more.
    """

    def __init__(self, number: int, seed: int) -> None:
        self.number = number
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw(np.random.default_rng([self.seed, self.epoch])).tolist())

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> Int[np.ndarray, " N"]:
        """Give the positions of an epoch."""


class ClassSampler(EpochSampler):
    """Take each sample once, or draw classes by their counts.

    Args:
        targets: the class of each sample.
        kind: `shuffle`: each sample once; `class-aware`: each draw is of any class with the same probability
            (Shen et al. 2016, arXiv:1512.05830); `square-root`: in proportion to the square root of its count
            (Mahajan et al. 2018, arXiv:1805.00932).
        seed: seeds the order, together with the epoch; 0 or more.

    Raises:
        InputError: no samples, or an unknown kind.
    """

    def __init__(self, targets: Sequence[int] | Int[np.ndarray, " N"], kind: str, *, seed: int = 0) -> None:
        if kind not in POWERS:
            raise InputError(f"sampler is {kind!r}: expected one of {', '.join(POWERS)}")
        self.targets = np.asarray(targets)
        if self.targets.ndim != 1 or len(self.targets) == 0:
            raise InputError(f"sampler {kind!r} needs the class of each sample, and one sample at least")
        self.power = POWERS[kind]
        super().__init__(len(self.targets), seed)

    def draw(self, generator: np.random.Generator) -> Int[np.ndarray, " N"]:
        """Give the positions of an epoch."""
        if self.power is None:
            return generator.permutation(len(self))
        return balanced_draws(self.targets, self.power, len(self), generator)


class WeightedSampler(EpochSampler):
    """Draw with replacement by given probabilities, as many as there are samples.

    Args:
        probabilities: of each sample, summing to 1: `matcard.data.draws.draw_probabilities`.
        seed: seeds the order, together with the epoch; 0 or more.

    Raises:
        InputError: no samples, or probabilities that are negative, not finite or do not sum to 1.
    """

    def __init__(self, probabilities: Float[np.ndarray, " N"], *, seed: int = 0) -> None:
        self.probabilities = np.asarray(probabilities, dtype=np.float64)
        total = self.probabilities.sum()
        if self.probabilities.ndim != 1 or not (self.probabilities >= 0).all() or not abs(total - 1) < 1e-6:
            raise InputError("a sampler needs a probability for each sample, 0 or more, all of them summing to 1")
        super().__init__(len(self.probabilities), seed)

    def draw(self, generator: np.random.Generator) -> Int[np.ndarray, " N"]:
        """Give the positions of an epoch."""
        return generator.choice(len(self), len(self), p=self.probabilities / self.probabilities.sum())


def balanced_draws(
    targets: Int[np.ndarray, " N"], power: float, draws: int, generator: np.random.Generator
) -> Int[np.ndarray, " M"]:
    """Draw positions, each class in proportion to its count to a power.

    Within a class they come in a random order, and none comes again before all have come.

    Args:
        targets: the class of each position.
        power: 0 draws classes equally, 1 as they occur.
        draws: the number of draws, M.
        generator: where randomness comes from.
    """
    classes, members, counts = np.unique(targets, return_inverse=True, return_counts=True)
    weights = counts**power
    drawn = generator.choice(len(classes), draws, p=weights / weights.sum())
    positions = np.empty(draws, dtype=np.int64)
    for label, count in enumerate(counts):
        places, own = np.flatnonzero(drawn == label), np.flatnonzero(members == label)
        rounds = generator.permuted(np.tile(own, (-(-len(places) // count), 1)), axis=1)
        positions[places] = rounds.ravel()[: len(places)]
    return positions
