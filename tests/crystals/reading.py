"""What is read, parted into the crystals that can be used and what is said of the other rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from matcard.crystals import read
from matcard.crystals.batches import Wanted
from matcard.crystals.crystals import id_faults
from matcard.crystals.read import from_objects
from matcard.crystals.read import read_crystals as read_all

if TYPE_CHECKING:
    from matcard.crystals.crystals import Crystals


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


def iter_crystals(source):
    """The pieces that a source is read in, before they are joined."""
    batches = read._reader(source, Wanted()).batches()
    return (parted(piece) for piece in read._checked(batches, None, None, False))


def from_structures(structures, ids=None):
    crystals = from_objects(structures, ids)
    return parted(crystals.with_faults(id_faults(crystals.ids, crystals.where)))


from_atoms = from_structures
