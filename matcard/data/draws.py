"""How often training samples are drawn: by what is distinct in them, not by how often it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import torch

from matcard.errors import InputError
from matcard.invariants import clipped_weighting, inverse_density, shares, sum_by_class

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int, Shaped
    from torch import Tensor

DrawKind: TypeAlias = Literal["spread", "magnitude", "density", "neighbors", "formula"]
"""What decides how often a sample is drawn, u being the `unit` and t the scale:

- `spread`: its share 1 / sum_j exp(-t d_ij / u);
- `magnitude`: its weight in the magnitude at that scale, 0 where negative, to 10,000 samples;
- `density`: 1 / sum_j exp(-(t d_ij / u)^2 / 2);
- `neighbors`: 1 / the number of samples within u / t;
- `formula`: 1 / the number of samples with its reduced formula.
"""

CLIP = 5.0
"""Standardised numbers further from 0 are cut to this."""

_MEDIAN_POINTS = 2048
# A class of at least so many samples repeats itself where at most this share of them is distinct.
_MANY, _FEW_DISTINCT = 10, 0.2


@dataclass(frozen=True, eq=False)
class Standard:
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
        standardised: Float64[np.ndarray, "N F"] = (np.asarray(values, np.float64) - self.mean) / self.deviation
        return standardised.clip(-CLIP, CLIP)


def directions(values: Float[np.ndarray, "n F"]) -> Float64[Tensor, "n F"]:
    """Give training samples as points for distances: standardised, and of unit length (or zero)."""
    points = torch.from_numpy(Standard.of(values)(values))
    return torch.nn.functional.normalize(points, dim=1)


def unit(points: Float[Tensor, "n F"], formulas: Shaped[np.ndarray, " n"], seed: int = 0) -> float:
    """Give the unit of distances: their median between samples of different formulas, one drawn from each.

    The plain median collapses where one trajectory dominates. Beyond 2,048 formulas a random part of them is taken. It
    is 1 where there is one formula only, or all coincide.

    Args:
        points: n samples.
        formulas: the reduced formula of each, or another name of its family.
        seed: of what is drawn.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(formulas))
    _, first = np.unique(np.asarray(formulas).astype(str)[order], return_index=True)
    drawn = order[generator.permutation(first)[:_MEDIAN_POINTS]]
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
        points: the samples, as `directions` gives them; for all kinds but `formula`. On a GPU they are faster.
        formulas: the reduced formula of each; for `formula`.
        classes: where given, a sample is compared with those of its own class alone.
        scale: t; larger ones let only closer copies share.
        length: u, as `unit` gives it.

    Raises:
        InputError: an unknown kind, a scale that is not positive, too many samples, or something that the kind needs
            is not given.
    """
    if kind not in get_args(DrawKind):
        raise InputError(f"sampler is {kind!r}: expected one of {', '.join(get_args(DrawKind))}")
    groups = None if classes is None else torch.from_numpy(np.asarray(classes, dtype=np.int64))
    if kind == "formula":
        if formulas is None:
            raise InputError("sampler 'formula' needs the formula of each sample: rows and images have none")
        weights = _by_size(np.asarray(formulas).astype(str), classes)
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


def distinct_by_class(
    points: Float[Tensor, "n F"],
    classes: Int[np.ndarray, " n"],
    num_classes: int,
    *,
    scale: float = 30.0,
    length: float = 1.0,
) -> Float64[np.ndarray, " C"]:
    """Give how many distinct samples each class has at a scale: the sum of its samples' shares within the class.

    Args:
        points: n samples of the training part, as `directions` gives them.
        classes: the class of each.
        num_classes: C.
        scale: t; larger ones tell closer samples apart.
        length: u, as `unit` gives it.
    """
    labels = torch.from_numpy(np.asarray(classes, dtype=np.int64))
    found = sum_by_class(shares(points.double(), scale / length, groups=labels), labels, num_classes)
    distinct: Float64[np.ndarray, " C"] = found.cpu().numpy()
    return distinct


def repeated_classes(counts: Int[np.ndarray, " C"], distinct: Float64[np.ndarray, " C"]) -> list[int]:
    """Name the classes that are a few families many times over: at most one in five of their samples is distinct."""
    return [int(label) for label in np.flatnonzero((counts >= _MANY) & (distinct <= counts * _FEW_DISTINCT))]


def _by_size(names: Shaped[np.ndarray, " n"], classes: Int[np.ndarray, " n"] | None) -> Float64[np.ndarray, " n"]:
    """Give one over the number of samples of the same name, and class if given."""
    _, group = np.unique(names, return_inverse=True)
    if classes is not None:
        _, group = np.unique(np.stack([group, classes]), axis=1, return_inverse=True)
    sizes: Float64[np.ndarray, " n"] = np.bincount(group.ravel())[group.ravel()].astype(np.float64)
    return 1 / sizes
