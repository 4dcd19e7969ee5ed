"""What reading gives: crystals as flat arrays, the source's other columns, and the rows left out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from jaxtyping import Float64, Int, Int64, Shaped, UInt8

_BLOCK_ROWS = 1 << 20


@dataclass(frozen=True, eq=False)
class Crystals:
    """N crystals with S sites in all; the sites of crystal i are `offsets[i]:offsets[i + 1]`.

    Attributes:
        ids: (N,) object array of str.
        lattice: (N, 3, 3), angstrom; the rows are the vectors a, b, c.
        offsets: (N + 1,), from 0 to S.
        numbers: (S,) atomic numbers.
        frac_coords: (S, 3) in units of the lattice vectors, as the source has them (not wrapped).
    """

    ids: Shaped[np.ndarray, " N"]
    lattice: Float64[np.ndarray, "N 3 3"]
    offsets: Int64[np.ndarray, " N+1"]
    numbers: UInt8[np.ndarray, " S"]
    frac_coords: Float64[np.ndarray, "S 3"]

    def __post_init__(self) -> None:
        n, s = len(self.ids), len(self.numbers)
        shapes = (self.lattice.shape, self.offsets.shape, self.frac_coords.shape)
        if shapes != ((n, 3, 3), (n + 1,), (s, 3)) or (self.offsets[0], self.offsets[-1]) != (0, s):
            raise ValueError(f"arrays of {n} crystals with {s} sites do not fit: shapes {shapes}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_sites(self) -> Int64[np.ndarray, " N"]:
        """The number of sites of each crystal."""
        return np.diff(self.offsets)

    def take(self, indices: Int[np.ndarray, " M"] | Sequence[int]) -> Crystals:
        """Give the crystals at `indices` (any order, repeats allowed).

        They are arrays of their own, but for all crystals in order: mapped files are then not read into memory.
        """
        index = np.asarray(indices, dtype=np.int64)
        if np.array_equal(index, np.arange(len(self))):
            return self
        counts = self.num_sites[index]
        offsets = offsets_from_counts(counts)
        # Site k of the new crystal j is site k of the old crystal index[j].
        sites = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][index] - offsets[:-1], counts)
        return Crystals(self.ids[index], self.lattice[index], offsets, self.numbers[sites], self.frac_coords[sites])

    def content_digest(self) -> str:
        """Give the sha256 of the structures; ids play no part."""
        sha = hashlib.sha256()
        for array, dtype in (
            (self.lattice, "<f8"),
            (self.offsets, "<i8"),
            (self.numbers, "<u1"),
            (self.frac_coords, "<f8"),
        ):
            sha.update(str(array.shape).encode())
            for start in range(0, len(array), _BLOCK_ROWS):
                sha.update(np.ascontiguousarray(array[start : start + _BLOCK_ROWS], dtype=dtype).data)
        return sha.hexdigest()

    def structure(self, i: int) -> Any:
        """Give crystal i as a `pymatgen.core.Structure`."""
        from pymatgen.core.lattice import Lattice
        from pymatgen.core.structure import Structure

        sites = self._sites(i)
        return Structure(Lattice(self.lattice[i]), self.numbers[sites].tolist(), self.frac_coords[sites])

    def atoms(self, i: int) -> Any:
        """Give crystal i as an `ase.Atoms`, periodic in three directions."""
        from ase import Atoms

        sites = self._sites(i)
        return Atoms(self.numbers[sites], scaled_positions=self.frac_coords[sites], cell=self.lattice[i], pbc=True)

    def _sites(self, i: int) -> slice:
        if not -len(self) <= i < len(self):
            raise IndexError(f"crystal {i} of {len(self)}")
        i %= len(self)
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    @staticmethod
    def concatenate(parts: Iterable[Crystals]) -> Crystals:
        """Join tables of crystals, in order; none gives an empty table."""
        pieces = [EMPTY, *parts]
        return Crystals(
            ids=np.concatenate([p.ids for p in pieces]),
            lattice=np.concatenate([p.lattice for p in pieces]),
            offsets=offsets_from_counts(np.concatenate([p.num_sites for p in pieces])),
            numbers=np.concatenate([p.numbers for p in pieces]),
            frac_coords=np.concatenate([p.frac_coords for p in pieces]),
        )


def offsets_from_counts(counts: Int[np.ndarray, " N"]) -> Int64[np.ndarray, " N+1"]:
    """Give where each of N runs of `counts` items begins in the flat array, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


EMPTY = Crystals(
    np.empty(0, object), np.empty((0, 3, 3)), np.zeros(1, np.int64), np.empty(0, np.uint8), np.empty((0, 3))
)


@dataclass(frozen=True, eq=False)
class CrystalTable:
    """What a source holds: valid crystals, their other columns, and what was left out.

    Attributes:
        crystals: the N crystals that passed `matcard.crystals.validate`.
        columns: N rows (RangeIndex), the source's other columns; those of nested values are not kept.
        left_out: one row for each row of the source that is not in `crystals`: `id`, `where` (file and row),
            `reason`, then the columns of `columns`.
        rows: (N,) number in the source, from 1, of the row, line, frame or file that each crystal stands in; None
            where the crystals were not read.
    """

    crystals: Crystals
    columns: pd.DataFrame
    left_out: pd.DataFrame
    rows: Int64[np.ndarray, " N"] | None = None

    def __len__(self) -> int:
        return len(self.crystals)

    @property
    def ids(self) -> Shaped[np.ndarray, " N"]:
        """The ids of the crystals."""
        return self.crystals.ids

    def take(self, indices: Int[np.ndarray, " M"]) -> CrystalTable:
        """Give the table of the crystals at `indices`; what was left out stays so."""
        return CrystalTable(
            self.crystals.take(indices),
            self.columns.iloc[indices].reset_index(drop=True),
            self.left_out,
            None if self.rows is None else self.rows[indices],
        )
