"""How often training samples are drawn: by what is distinct in them, not by how often it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import torch

from matcard.errors import InputError
from matcard.invariants import clipped_weighting, inverse_density, shares

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
        numbers: Float64[np.ndarray, "N F"] = (np.asarray(values, np.float64) - self.mean) / self.deviation
        return numbers.clip(-CLIP, CLIP)


def standardised(values: Float[np.ndarray, "n F"]) -> Float64[Tensor, "n F"]:
    """Give samples as points for distances, each column standardised by them."""
    return torch.from_numpy(Standard.of(values)(values))


def directions(values: Float[np.ndarray, "n F"]) -> Float64[Tensor, "n F"]:
    """Give samples as points for distances: standardised, and of unit length (or zero)."""
    return torch.nn.functional.normalize(standardised(values), dim=1)


def unit(points: Float[Tensor, "n F"], formulas: Shaped[np.ndarray, " n"] | None = None, seed: int = 0) -> float:
    """Give the unit of distances: their median between samples of different formulas, one drawn from each.

    The plain median collapses where one trajectory dominates. Beyond 2,048 formulas a random part of them is taken. It
    is 1 where there is one formula only, or all coincide.

    Args:
        points: n samples.
        formulas: the reduced formula of each, or another name of its family; None where each is its own.
        seed: of what is drawn.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(points))
    names = np.arange(len(points)) if formulas is None else np.asarray(formulas).astype(str)
    _, first = np.unique(names[order], return_index=True)
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
        points: the samples, as `Kind.points` gives them; for all kinds but `formula`. On a GPU they are faster.
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


def _by_size(names: Shaped[np.ndarray, " n"], classes: Int[np.ndarray, " n"] | None) -> Float64[np.ndarray, " n"]:
    """Give one over the number of samples of the same name, and class if given."""
    _, group = np.unique(names, return_inverse=True)
    if classes is not None:
        _, group = np.unique(np.stack([group, classes]), axis=1, return_inverse=True)
    sizes: Float64[np.ndarray, " n"] = np.bincount(group.ravel())[group.ravel()].astype(np.float64)
    return 1 / sizes
