"""Crystals as flat arrays: every row of a source in its order, with its structure or with what is wrong."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from matcard.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jaxtyping import Bool, Float64, Int, Int64, Shaped, UInt8

    Content = tuple[tuple[int, int], ...]

ELEMENTS = {symbol: z for symbol, z in atomic_numbers.items() if z > 0}
"""Element symbol -> atomic number; no isotopes (D, T) and no dummy (X)."""
UNNAMED = "column 2"
"""The column of labels of an `id_prop.csv` without header; those behind it are called likewise."""

_QUOTES = "'\""
_NOT_GIVEN: Any = None


@dataclass(eq=False, slots=True)
class Crystal:
    """One structure as a decoder gives it, or why there is none.

    Attributes:
        lattice: (3, 3), angstrom; rows a, b, c.
        numbers: (n,) atomic numbers.
        frac_coords: (n, 3), in units of the lattice vectors.
        doubts: what is questionable about it, though it was read.
        fault: why there is no structure, or None.
        name: of the data block of a CIF.
        labels: of the sites that a CIF lists.
        heads: which of the n sites these are, where symmetry makes others of them, which follow; empty for all.
    """

    lattice: Float64[np.ndarray, "3 3"] = field(default_factory=lambda: np.zeros((3, 3)))
    numbers: UInt8[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.uint8))
    frac_coords: Float64[np.ndarray, "n 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    doubts: tuple[str, ...] = ()
    fault: str | None = None
    name: str = ""
    labels: Sequence[str] = ()
    heads: Sequence[int] = ()

    def call(self, k: int) -> str:
        """Give what messages call site k: by its label where it has one, and as the file counts it."""
        listed = bisect(self.heads, k) - 1 if self.heads else k
        return call_site(self.labels, listed) if self.labels else f"site {k + 1}"


@dataclass(frozen=True, eq=False)
class Crystals:
    """N rows of a source with S sites in all; the sites of crystal i are `offsets[i]:offsets[i + 1]`.

    A row that cannot be used has a fault, no site and a lattice of zeros; nothing is dropped. What is not given of
    the last four is: the rows counted from 1, no fault, no doubt, no column.

    Attributes:
        ids: (N,) object array of str, valid Unicode; empty where a row has none.
        lattice: (N, 3, 3), angstrom; the rows are the vectors a, b, c.
        offsets: (N + 1,), from 0 to S.
        numbers: (S,) atomic numbers.
        frac_coords: (S, 3) in units of the lattice vectors, as the source has them (not wrapped).
        where: (N,) object array of str: file and line, row or frame, as the user counts them.
        faults: (N,) object array: why a row cannot be used, or None.
        doubts: (N,) object array: what is questionable about a row that was read nevertheless, or None.
        columns: N rows (RangeIndex), the source's other columns; those of nested values are not kept.
    """

    ids: Shaped[np.ndarray, " N"]
    lattice: Float64[np.ndarray, "N 3 3"]
    offsets: Int64[np.ndarray, " N+1"]
    numbers: UInt8[np.ndarray, " S"]
    frac_coords: Float64[np.ndarray, "S 3"]
    where: Shaped[np.ndarray, " N"] = _NOT_GIVEN
    faults: Shaped[np.ndarray, " N"] = _NOT_GIVEN
    doubts: Shaped[np.ndarray, " N"] = _NOT_GIVEN
    columns: pd.DataFrame = _NOT_GIVEN

    def __post_init__(self) -> None:
        n, s = len(self.ids), len(self.numbers)
        shapes = (self.lattice.shape, self.offsets.shape, self.frac_coords.shape)
        if shapes != ((n, 3, 3), (n + 1,), (s, 3)) or (self.offsets[0], self.offsets[-1]) != (0, s):
            raise ValueError(f"arrays of {n} crystals with {s} sites do not fit: shapes {shapes}")
        none = np.full(n, None, dtype=object)
        where = objects(f"row {k + 1}" for k in range(n))
        made = {"where": where, "faults": none, "doubts": none, "columns": pd.DataFrame(index=range(n))}
        for name, value in made.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if not n == len(self.where) == len(self.faults) == len(self.doubts) == len(self.columns):
            raise ValueError(f"{n} crystals need as many of where, faults, doubts and rows of columns")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_sites(self) -> Int64[np.ndarray, " N"]:
        """The number of sites of each crystal."""
        return np.diff(self.offsets)

    @property
    def sound(self) -> Bool[np.ndarray, " N"]:
        """Whether a row can be used: it has no fault."""
        return is_none(self.faults)

    def take(self, indices: Int[np.ndarray, " M"] | Sequence[int]) -> Crystals:
        """Give the rows at `indices` (any order, repeats allowed).

        They are arrays of their own, but for all rows in order: mapped files are then not read into memory.
        """
        index = np.asarray(indices, dtype=np.int64)
        if np.array_equal(index, np.arange(len(self))):
            return self
        counts = self.num_sites[index]
        offsets = offsets_from_counts(counts)
        # Site k of the new crystal j is site k of the old crystal index[j].
        sites = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][index] - offsets[:-1], counts)
        return replace(
            self,
            **{name: getattr(self, name)[index] for name in ("ids", "lattice", "where", "faults", "doubts")},
            offsets=offsets,
            numbers=self.numbers[sites],
            frac_coords=self.frac_coords[sites],
            columns=self.columns.iloc[index].reset_index(drop=True),
        )

    def with_faults(self, faults: Shaped[np.ndarray, " N"]) -> Crystals:
        """Give the rows with these faults beside those that they have; rows at fault lose their sites and doubts."""
        faults = np.where(self.sound, faults, self.faults)
        bad = ~is_none(faults)
        if not bad.any():
            return self
        kept = np.repeat(~bad, self.num_sites)
        return replace(
            self,
            lattice=np.where(bad[:, None, None], 0.0, self.lattice),
            offsets=offsets_from_counts(np.where(bad, 0, self.num_sites)),
            numbers=self.numbers[kept],
            frac_coords=self.frac_coords[kept],
            faults=faults,
            doubts=objects(None if no else doubt for no, doubt in zip(bad, self.doubts, strict=True)),
        )

    def with_label(self, name: str | None) -> Crystals:
        """Give the rows with the first column called `name` where an `id_prop.csv` without header names none."""
        if name is None or UNNAMED not in self.columns or name in self.columns:
            return self
        return replace(self, columns=self.columns.rename(columns={UNNAMED: name}))

    def digests(self) -> list[bytes]:
        """Give the sha256 of each crystal: its lattice, elements and coordinates, in the order of its sites."""
        lattice = np.ascontiguousarray(self.lattice, dtype="<f8")
        numbers = np.ascontiguousarray(self.numbers, dtype="<u1")
        coords = np.ascontiguousarray(self.frac_coords, dtype="<f8")
        return [
            hashlib.sha256(lattice[i].tobytes() + numbers[a:b].tobytes() + coords[a:b].tobytes()).digest()
            for i, (a, b) in enumerate(pairwise(self.offsets.tolist()))
        ]

    def content_digest(self) -> str:
        """Give the sha256 of the structures in their order; ids and columns play no part."""
        sha = hashlib.sha256()
        for array, kind in (
            (self.offsets, "<i8"),
            (self.lattice, "<f8"),
            (self.numbers, "<u1"),
            (self.frac_coords, "<f8"),
        ):
            sha.update(np.ascontiguousarray(array, dtype=kind).data)
        return sha.hexdigest()

    def structure(self, i: int) -> Any:
        """Give crystal i as a `pymatgen.core.Structure`.

        Raises:
            StructureError: the row has a fault, which is the message.
        """
        from pymatgen.core.lattice import Lattice  # takes a third of a second
        from pymatgen.core.structure import Structure

        sites = self._sites(i)
        return Structure(Lattice(self.lattice[i]), self.numbers[sites].tolist(), self.frac_coords[sites])

    def atoms(self, i: int) -> Any:
        """Give crystal i as an `ase.Atoms`, periodic in three directions.

        Raises:
            StructureError: the row has a fault, which is the message.
        """
        sites = self._sites(i)
        return Atoms(self.numbers[sites], scaled_positions=self.frac_coords[sites], cell=self.lattice[i], pbc=True)

    def _sites(self, i: int) -> slice:
        if not -len(self) <= i < len(self):
            raise IndexError(f"crystal {i} of {len(self)}")
        i %= len(self)
        if self.faults[i] is not None:
            raise StructureError(f"{self.where[i]}: {self.faults[i]}")
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    @staticmethod
    def of(found: Sequence[Crystal], ids: Sequence[str] | None = None, **given: Any) -> Crystals:
        """Lay structures out flat, with the faults and doubts that they have.

        Args:
            found: N structures.
            ids: N of them; None for the names of the structures.
            given: `where` and `columns`.
        """
        return Crystals(
            objects([one.name for one in found] if ids is None else ids),
            np.array([one.lattice for one in found]).reshape(-1, 3, 3),
            offsets_from_counts(np.array([len(one.numbers) for one in found], dtype=np.int64)),
            np.concatenate([np.zeros(0, np.uint8), *(one.numbers for one in found)]),
            np.concatenate([np.zeros((0, 3)), *(one.frac_coords for one in found)]),
            faults=objects(one.fault for one in found),
            doubts=objects("; ".join(one.doubts) or None for one in found),
            **given,
        )

    @staticmethod
    def concatenate(parts: Iterable[Crystals]) -> Crystals:
        """Join crystals, in order; types of columns are settled over all rows; none gives no row."""
        pieces = list(parts) or [Crystals.of([])]
        names = ("ids", "lattice", "numbers", "frac_coords", "where", "faults", "doubts")
        frames = [piece.columns for piece in pieces]
        if any(not frame.dtypes.equals(frames[0].dtypes) for frame in frames):
            frames = [frame.astype(object) for frame in frames]
        return Crystals(
            **{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names},
            offsets=offsets_from_counts(np.concatenate([piece.num_sites for piece in pieces])),
            columns=pd.concat(frames, ignore_index=True).infer_objects(),
        )


def id_faults(ids: Shaped[np.ndarray, " N"], where: Shaped[np.ndarray, " N"]) -> Shaped[np.ndarray, " N"]:
    """Say which rows have no id, or that of an earlier row; None elsewhere."""
    first: dict[str, int] = {}
    faults = np.full(len(ids), None, dtype=object)
    for i, name in enumerate(ids.tolist()):
        if not name:
            faults[i] = "no id; give the row one"
        elif (k := first.setdefault(name, i)) != i:
            faults[i] = f"duplicated id {name!r}, first in {where[k]}; give each an id of its own"
    return faults


def call_site(labels: Sequence[str], i: int) -> str:
    """Give what messages call site i, counted from 0, of those that a CIF lists."""
    return f"atom site {i + 1} ({labels[i].strip(_QUOTES)})"


def offsets_from_counts(counts: Int[np.ndarray, " N"]) -> Int64[np.ndarray, " N+1"]:
    """Give where each of N runs of `counts` items begins in the flat array, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def in_runs(counts: Int[np.ndarray, " N"], most: int) -> list[slice]:
    """Cut N crystals, by their numbers of sites, into runs of at most so many sites in all, or of one crystal."""
    ends, cuts = np.cumsum(counts), [0]
    while cuts[-1] < len(counts):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, before + most, side="right"))))
    return [slice(*ends) for ends in pairwise(cuts)]


def cell_from_parameters(parameters: Sequence[float]) -> Float64[np.ndarray, "3 3"]:
    """Give the cell of a, b, c (angstrom), alpha, beta, gamma (degrees): c along z, a in the xz plane, as in pymatgen.

    Angles that close no cell give a flat one; NaN and infinity give NaN.
    """
    if not math.isfinite(sum(parameters)):
        return np.full((3, 3), math.nan)
    a, b, c, *angles = parameters
    alpha, beta, gamma = map(math.radians, angles)
    cos_alpha, cos_beta, sin_alpha, sin_beta = math.cos(alpha), math.cos(beta), math.sin(alpha), math.sin(beta)
    sines = sin_alpha * sin_beta
    turn = (cos_alpha * cos_beta - math.cos(gamma)) / sines if sines else 1.0
    turn = min(max(turn, -1.0), 1.0)
    rise = math.sqrt(1 - turn**2)
    rows = [a * sin_beta, 0.0, a * cos_beta, -b * sin_alpha * turn, b * sin_alpha * rise, b * cos_alpha, 0.0, 0.0, c]
    return np.array(rows).reshape(3, 3)


def is_none(values: Shaped[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Say where an array of objects has None."""
    return np.array([value is None for value in values], dtype=bool)


def objects(values: Iterable[Any]) -> Shaped[np.ndarray, " N"]:
    """Give values of any type as an array of objects."""
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def contents(crystals: Crystals) -> list[Content]:
    """Give the elements of each crystal: atomic number and number of sites, in the order of the numbers."""
    owners = np.repeat(np.arange(len(crystals)), crystals.num_sites)
    pairs, counts = np.unique(owners * 256 + crystals.numbers, return_counts=True)
    listed = list(zip((pairs % 256).tolist(), counts.tolist(), strict=True))
    ends = np.searchsorted(pairs // 256, np.arange(len(crystals) + 1)).tolist()
    return [tuple(listed[start:end]) for start, end in pairwise(ends)]


def reduced_formulas(crystals: Crystals) -> Shaped[np.ndarray, " N"]:
    """Give the reduced formulas, such as SrTiO3: by electronegativity, counts without a common divisor."""
    return np.array([_formula(content) for content in contents(crystals)], dtype=object)


@cache
def _formula(content: Content) -> str:
    from pymatgen.core.periodic_table import Element

    divisor = math.gcd(*(count for _, count in content))
    # Elements that form no compounds have no electronegativity on Pauling's scale; they come last.
    elements = [(Element.from_Z(number), count // divisor) for number, count in content]
    elements.sort(key=lambda item: (item[0].data.get("X") or math.inf, item[0].symbol))
    return "".join(f"{element.symbol}{count if count > 1 else ''}" for element, count in elements)


def chemical_systems(crystals: Crystals) -> Shaped[np.ndarray, " N"]:
    """Give the elements of each crystal, such as O-Sr-Ti."""
    symbols = [sorted(chemical_symbols[number] for number, _ in content) for content in contents(crystals)]
    return np.array(["-".join(some) for some in symbols], dtype=object)
