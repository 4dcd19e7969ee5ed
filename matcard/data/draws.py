"""What is distinct in a training part: how often each sample is drawn, and how many distinct ones each class has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch.utils.data import Sampler

from matcard.errors import InputError
from matcard.invariants import clipped_weighting, inverse_density, shares, sum_by_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from jaxtyping import Float, Float32, Float64, Int, Shaped
    from torch import Tensor

    from matcard.data.samples import Kind, Samples


DrawKind: TypeAlias = Literal["spread", "magnitude", "density", "neighbors", "formula"]
"""What decides how often a sample is drawn, u being the `unit` and t the scale:

- `spread`: its share 1 / sum_j exp(-t d_ij / u);
- `magnitude`: its weight in the magnitude at that scale, 0 where negative, to 10,000 samples;
- `density`: 1 / sum_j exp(-(t d_ij / u)^2 / 2);
- `neighbors`: 1 / the number of samples within u / t;
- `formula`: 1 / the number of samples with its reduced formula.
"""

_MEDIAN_POINTS = 2048
_FEW_FAMILIES = 10
"""Fewer families say nothing of how samples vary."""


def one_of_each(formulas: Shaped[np.ndarray, " n"] | None, number: int) -> Int[np.ndarray, " m"]:
    """Draw the position of one sample of each formula, in a random order; of all where nothing is known of formulas.

    Args:
        formulas: the reduced formula of each of n samples, or another name of its family.
        number: n.
    """
    generator = np.random.default_rng(0)
    order = generator.permutation(number)
    names = np.arange(number) if formulas is None else np.asarray(formulas).astype(str)
    _, first = np.unique(names[order], return_index=True)
    return order[generator.permutation(first)]


def points_and_unit(
    kind: Kind,
    samples: Samples,
    descriptors: Float32[Tensor, "n D"] | None = None,
) -> tuple[Float64[Tensor, "n F"] | None, float]:
    """Give samples as points whose distances tell how alike they are, None where they have no numbers; and the unit.

    Columns are standardised by one sample of each family where there are ten families or more, else by all.

    Args:
        kind: of the samples.
        samples: n of them.
        descriptors: of each, where they have some.

    Raises:
        InputError: numbers that are not finite.
    """
    families = kind.families(samples)
    drawn = one_of_each(families, len(samples))
    points = kind.points(samples.inputs, descriptors, drawn if len(drawn) >= _FEW_FAMILIES else None)
    return points, 1.0 if points is None else unit(points, families)


def unit(points: Float[Tensor, "n F"], formulas: Shaped[np.ndarray, " n"] | None = None) -> float:
    """Give the unit of distances: their median between samples of different formulas, one drawn from each.

    The plain median collapses where one trajectory dominates. Beyond 2,048 formulas a random part of them is taken. It
    is 1 where there is one formula only, or all coincide.

    Args:
        points: n samples.
        formulas: the reduced formula of each, or another name of its family; None where each is its own.
    """
    drawn = one_of_each(formulas, len(points))[:_MEDIAN_POINTS]
    apart = torch.pdist(points[torch.from_numpy(drawn).to(points.device)].double())
    apart = apart[apart > 0]
    return float(apart.median()) if len(apart) else 1.0


def draw_probabilities(
    kind: str,
    *,
    points: Float[Tensor, "n F"] | None = None,
    formulas: Shaped[np.ndarray, " n"] | None = None,
    classes: Int[np.ndarray, " n"] | None = None,
    scale: float = 30.0,
    length: float = 1.0,
) -> Float64[np.ndarray, " n"]:
    """Give the probability with which each of n training samples is drawn; they sum to 1.

    Args:
        kind: what decides; see `DrawKind`.
        points: the samples, as `Kind.points` gives them; for all kinds but `formula`. On a GPU they are faster.
        formulas: the reduced formula of each; for `formula`.
        classes: where given, a sample is compared with those of its own class alone.
        scale: t; larger ones let only closer copies share.
        length: u, as `unit` gives it.

    Raises:
        InputError: too many samples, or something that the kind needs is not given.
    """
    groups = None if classes is None else torch.from_numpy(np.asarray(classes, dtype=np.int64))
    if kind == "formula":
        if formulas is None:
            raise InputError("sampler 'formula' needs the formula of each sample: rows of a table and images have none")
        _, group = np.unique(formulas.astype(str), return_inverse=True)
        if classes is not None:
            _, group = np.unique(np.stack([group, classes]), axis=1, return_inverse=True)
        weights = 1 / np.bincount(group.ravel())[group.ravel()]
    elif points is None:
        raise InputError(f"sampler {kind!r} needs numbers of each sample to take distances of: images have none")
    elif kind == "spread":
        weights = shares(points, scale / length, groups=groups).cpu().numpy()
    elif kind == "magnitude":
        weights = clipped_weighting(points, scale / length, groups=groups).cpu().numpy()
    else:
        kernel: Literal["gaussian", "ball"] = "gaussian" if kind == "density" else "ball"
        weights = inverse_density(points, length / scale, kernel, groups=groups).cpu().numpy()
    probabilities: Float64[np.ndarray, " n"] = weights.astype(np.float64) / weights.sum(dtype=np.float64)
    return probabilities


POWERS = {"shuffle": None, "square-root": 0.5, "class-aware": 0.0}
"""Classes are drawn in proportion to their count to this power; None takes each sample once."""


@dataclass(eq=False)
class EpochSampler(Sampler[int]):
    """Give as many positions an epoch as there are samples, in an order that seed and epoch decide.

    So a resumed run sees what an uninterrupted one would have seen, and all processes of a distributed run
    see the same. Lightning calls `set_epoch` before each epoch; a hand-written loop has to.

    Args:
        number: of samples.
        draw: gives the positions of an epoch, with the randomness of a generator: `by_class`, `by_probability`.
        seed: seeds the order, together with the epoch; 0 or more.
    """

    number: int
    draw: Callable[[np.random.Generator], Int[np.ndarray, " N"]]
    seed: int = 0
    epoch: int = field(default=0, init=False)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw(np.random.default_rng([self.seed, self.epoch])).tolist())


def by_probability(probabilities: Float[np.ndarray, " N"], generator: np.random.Generator) -> Int[np.ndarray, " N"]:
    """Draw as many positions as there are, with replacement, by probabilities that sum to 1 (`draw_probabilities`)."""
    return generator.choice(len(probabilities), len(probabilities), p=probabilities / probabilities.sum())


def by_class(targets: Int[np.ndarray, " N"], kind: str, generator: np.random.Generator) -> Int[np.ndarray, " N"]:
    """Take each position once, or draw as many by their classes.

    Within a class they come in a random order, and none comes again before all have come.

    Args:
        targets: the class of each position.
        kind: `shuffle`: each position once; `class-aware`: each draw is of any class with the same probability
            (Shen et al. 2016, arXiv:1512.05830); `square-root`: in proportion to the square root of its count
            (Mahajan et al. 2018, arXiv:1805.00932).
        generator: where randomness comes from.
    """
    power, draws = POWERS[kind], len(targets)
    if power is None:
        return generator.permutation(draws)
    classes, members, counts = np.unique(targets, return_inverse=True, return_counts=True)
    weights = counts**power
    drawn = generator.choice(len(classes), draws, p=weights / weights.sum())
    positions = np.empty(draws, dtype=np.int64)
    for label, count in enumerate(counts):
        places, own = np.flatnonzero(drawn == label), np.flatnonzero(members == label)
        rounds = generator.permuted(np.tile(own, (-(-len(places) // count), 1)), axis=1)
        positions[places] = rounds.ravel()[: len(places)]
    return positions


FEW = 4000
"""To so many samples the numbers are counted at several scales, and without being asked for: in about a second."""
SCALES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
"""Where they are counted, beside the chosen scale."""
# A class of at least so many samples repeats itself where at most this share of them is distinct.
_MANY, _FEW_DISTINCT = 10, 0.2


@dataclass(frozen=True)
class Distinct:
    """How many distinct samples each class has, at one or several scales: the sums of shares within the classes.

    Attributes:
        class_names: the C classes.
        samples: of each class.
        scale: the chosen one.
        scales: S of them in ascending order, the chosen one among them.
        numbers: for each scale the number of distinct samples of each class.
    """

    class_names: tuple[str, ...]
    samples: tuple[int, ...]
    scale: float
    scales: tuple[float, ...]
    numbers: tuple[tuple[float, ...], ...]

    @classmethod
    def count(
        cls,
        points: Float[Tensor, "n F"],
        classes: Int[np.ndarray, " n"],
        class_names: Sequence[str],
        *,
        scale: float = 30.0,
        length: float = 1.0,
    ) -> Self:
        """Count them; beyond `FEW` samples at the chosen scale alone.

        Args:
            points: n samples, as `Kind.points` gives them.
            classes: the class of each.
            class_names: C names.
            scale: t; larger ones tell closer samples apart.
            length: u, as `matcard.data.draws.unit` gives it.

        Raises:
            InputError: more than 100,000 samples.
        """
        scales = sorted({scale, *(SCALES if len(points) <= FEW else ())})
        size, labels = len(class_names), torch.from_numpy(np.asarray(classes, dtype=np.int64))
        within = (shares(points.double(), each / length, groups=labels) for each in scales)
        found = tuple(tuple(sum_by_class(each, labels, size).tolist()) for each in within)
        samples = np.bincount(classes, minlength=size).tolist()
        return cls(tuple(class_names), tuple(samples), scale, tuple(scales), found)

    @property
    def here(self) -> Float64[np.ndarray, " C"]:
        """The numbers at the chosen scale."""
        return np.array(self.numbers[self.scales.index(self.scale)])

    @property
    def shares(self) -> Float64[np.ndarray, "S C"]:
        """Each class's distinct samples by its samples; NaN of a class without any."""
        counts = np.array(self.samples, np.float64)
        return np.array(self.numbers) / np.where(counts, counts, np.nan)

    def warnings(self, unit: str = "samples") -> list[str]:
        """Say of each class that is a few families many times over what it is, and what to do.

        At most one in five of its samples is distinct.

        Args:
            unit: what samples are called.
        """
        if self.scale < 1:  # samples that are no copies count as one there
            return []
        samples = np.array(self.samples)
        repeated = np.flatnonzero((samples >= _MANY) & (self.here <= samples * _FEW_DISTINCT))
        return [
            f"class {self.class_names[label]!r}: its {self.samples[label]:,} {unit} count as about "
            f"{self.here[label]:.3g} distinct at scale {self.scale:g}, and losses and samplers that count classes take "
            "them for as many as they are; --trainer.sampler spread or density (of crystals formula, too) draws them "
            "less often, --data.near_copies drop cuts them"
            for label in repeated
        ]
