"""What is read, parted into the crystals that can be used and what is said of the other rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from matcard.crystals import Crystals, from_objects
from matcard.crystals import iter_crystals as iter_all
from matcard.crystals import read_crystals as read_all


class Parted(NamedTuple):
    crystals: Crystals
    columns: pd.DataFrame
    left_out: pd.DataFrame

    def __len__(self) -> int:
        return len(self.crystals)


def parted(crystals):
    sound = crystals.take(np.flatnonzero(crystals.sound))
    bad = crystals.take(np.flatnonzero(~crystals.sound))
    said = pd.DataFrame({"id": bad.ids, "where": bad.where, "reason": bad.faults}, dtype=object)
    rest = bad.columns.rename(columns={name: f"source_{name}" for name in said})
    return Parted(sound, sound.columns, pd.concat([said, rest], axis=1))


def read_crystals(source, *, target=None, **options):
    return parted(read_all(source, **options).with_label(target))


def iter_crystals(source, **options):
    return (parted(piece) for piece in iter_all(source, **options))


def from_structures(structures, ids=None, columns=None):
    return parted(from_objects(structures, ids, columns).with_unique_ids())


from_atoms = from_structures
