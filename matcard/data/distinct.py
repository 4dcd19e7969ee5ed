"""How many distinct samples each class has, against the scale at which they are told apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matcard.invariants import shares, sum_by_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from jaxtyping import Float, Float64, Int
    from torch import Tensor

FEW = 4000
"""To so many samples the numbers are counted at several scales, and without being asked for: in about a second."""
SCALES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
"""Where they are counted, beside the chosen scale."""
# A class of at least so many samples repeats itself where at most this share of them is distinct.
_MANY, _FEW_DISTINCT = 10, 0.2


@dataclass(frozen=True)
class Distinct:
    """How many distinct samples each class has, at one or several scales.

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
        size = len(class_names)
        found = [distinct_by_class(points, classes, size, scale=each, length=length) for each in scales]
        samples = np.bincount(classes, minlength=size).tolist()
        return cls(
            tuple(class_names), tuple(samples), scale, tuple(scales), tuple(tuple(row.tolist()) for row in found)
        )

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

        Args:
            unit: what samples are called.
        """
        if self.scale < 1:  # samples that are no copies count as one there
            return []
        return [
            f"class {self.class_names[label]!r}: its {self.samples[label]:,} {unit} are about {self.here[label]:.3g} "
            f"distinct ones at scale {self.scale:g}, and losses and samplers that count classes take them for as many "
            "as they are; --trainer.sampler spread, density or formula draws them less often, --data.near_copies drop "
            "cuts them"
            for label in repeated_classes(np.array(self.samples), self.here)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of what `to_dict` gave."""
        lists = {name: tuple(stored[name]) for name in ("class_names", "samples", "scales")}
        return cls(**lists, scale=stored["scale"], numbers=tuple(map(tuple, stored["numbers"])))


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
        points: n samples, as `Kind.points` gives them.
        classes: the class of each.
        num_classes: C.
        scale: t; larger ones tell closer samples apart.
        length: u, as `matcard.data.draws.unit` gives it.
    """
    labels = torch.from_numpy(np.asarray(classes, dtype=np.int64))
    found = sum_by_class(shares(points.double(), scale / length, groups=labels), labels, num_classes)
    distinct: Float64[np.ndarray, " C"] = found.cpu().numpy()
    return distinct


def repeated_classes(counts: Int[np.ndarray, " C"], distinct: Float64[np.ndarray, " C"]) -> list[int]:
    """Name the classes that are a few families many times over: at most one in five of their samples is distinct."""
    return [int(label) for label in np.flatnonzero((counts >= _MANY) & (distinct <= counts * _FEW_DISTINCT))]
