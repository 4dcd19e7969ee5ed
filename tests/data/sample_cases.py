"""Samples made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from matcard.crystals.crystals import Crystals, objects
from matcard.data.crystals import CrystalKind
from matcard.data.labels import Labels
from matcard.data.read import read
from matcard.data.rows import RowKind
from matcard.data.samples import Samples
from matcard.graphs.neighbors import GraphOptions

if TYPE_CHECKING:
    from matcard.data.options import DataOptions


def of_crystals(crystals, **columns) -> Samples:
    """Crystals as samples, with more columns."""
    samples = CrystalKind(GraphOptions()).samples(crystals)
    return replace(samples, columns=samples.columns.assign(**columns))


def of_rows(inputs, columns=None, test=None) -> Samples:
    """Rows of numbers as samples."""
    n = len(inputs)
    kind = RowKind("table", tuple(f"x{k}" for k in range(inputs.shape[1])))
    ids, where = objects(f"r{i}" for i in range(n)), objects(f"row {i + 1}" for i in range(n))
    frame = pd.DataFrame(index=range(n)) if columns is None else pd.DataFrame(columns)
    return Samples(ids, where, inputs, frame, objects([None] * n), kind, test)


def coded(samples: Samples, codes, *, of_numbers=False) -> Samples:
    """Samples with classes, made of a number or not."""
    codes = np.asarray(codes, dtype=np.int64)
    names = tuple(map(str, range(max(2, codes.max(initial=0) + 1))))
    return replace(samples, labels=Labels(codes, names, "y", *((0.5,), (0, 1)) if of_numbers else ()))


def rows(options: DataOptions) -> Samples:
    """The rows of a source, without classes."""
    return read(options)


class Parted(NamedTuple):
    """The crystals of a source that can be used with their other columns, and the columns of those that cannot."""

    crystals: Crystals
    columns: pd.DataFrame
    left_out: pd.DataFrame

    def __len__(self) -> int:
        return len(self.crystals)


def parted(crystals) -> Parted:
    """Part crystals into those without and those with a fault."""
    sound, bad = (crystals.take(np.flatnonzero(which)) for which in (crystals.sound, ~crystals.sound))
    return Parted(sound, sound.columns, bad.columns.assign(id=bad.ids, where=bad.where, reason=bad.faults))
