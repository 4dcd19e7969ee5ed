"""A cell, the sites that a CIF lists and all that it says of their symmetry -> all sites of the cell."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ase.data import chemical_symbols

from matcard.crystals import cif_blocks as names
from matcard.crystals.cif_blocks import Block, last_digit, plain
from matcard.crystals.cif_content import Content, compare
from matcard.crystals.crystals import Crystal, call_site
from matcard.crystals.validate import MIN_DISTANCE, checked
from matcard.errors import StructureError
from matcard.symmetry import (
    EXACT,
    Group,
    distinct,
    group_of,
    groups_of_hall,
    operation,
    settings_of,
    settings_of_number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float64


# Coordinates are known to this at the best: copies this close are one site (as pymatgen takes them).
_CLOSE = 1e-4
_SAME = 0.1
"""Sites closer than this, in angstrom, are the same where two ways to fill a cell are compared."""
_NAMES = (*names.HALL, *names.SYMBOLS, *names.NUMBER, names.CODE)


class Filled(NamedTuple):
    """A cell as a group fills it."""

    crystal: Crystal
    content: Content
    """How it compares with the formula."""
    multiplicity: str | None
    """What is said if a site has not the multiplicity that the file gives."""


class Listed(NamedTuple):
    """The sites of a block as it lists them."""

    labels: Sequence[str]
    """Their labels, or types where there are none."""
    numbers: Sequence[int]
    """Their atomic numbers."""
    frac_coords: Float64[np.ndarray, "k 3"]
    written: Sequence[Sequence[str]]
    """The coordinates x, y and z as they are written."""
    multiplicities: Sequence[float]
    """How many of each the cell holds; empty where that is not said."""


class Cell(NamedTuple):
    """What is to be filled: a cell, the sites listed, and what the formula asks for."""

    lattice: Float64[np.ndarray, "3 3"]
    listed: Listed
    formula: Mapping[str, float] | None
    units: float | None
    """Z, the formula units in it."""
    measured: bool
    """Whether it comes from an experiment."""

    def filled(self, group: Group) -> Filled:
        """Fill the cell with all copies of the sites listed.

        Raises:
            StructureError: when copies of a site are neither one nor apart.
        """
        labels, listed, *_ = self.listed
        counts, frac_coords = self.copies(group)
        atoms: dict[int, int] = {}
        for number, count in zip(listed, counts, strict=True):
            atoms[number] = atoms.get(number, 0) + count
        named = {chemical_symbols[number]: count for number, count in atoms.items()}
        content = compare(named, self.formula, self.units, self.measured)
        numbers, heads = np.array(listed, dtype=np.uint8), []
        if len(group) > 1:
            numbers, heads = numbers.repeat(counts), [0, *accumulate(counts[:-1])]
        crystal = Crystal(self.lattice, numbers, frac_coords, labels=labels, heads=heads)
        return Filled(crystal, content, self._multiplicity(counts, len(group)))

    def copies(self, group: Group) -> tuple[list[int], Float64[np.ndarray, "n 3"]]:
        """Give how many copies each site has, and all sites of the cell, site after site.

        Copies closer than the digits of the coordinates allow are one site, which then stands where its own symmetry
        puts it: 0.333 is 1/3 on a threefold axis.

        Raises:
            StructureError: when copies of a site are too close to be two atoms, and not close enough to be one.
        """
        frac_coords = self.listed.frac_coords
        k, m = len(frac_coords), len(group)
        if m == 1:
            return [1] * k, frac_coords % 1.0
        images = group.copies(frac_coords)
        apart = images - frac_coords[..., None]
        apart -= np.rint(apart)
        vectors = self.lattice.T @ apart
        squared = np.einsum("kim,kim->km", vectors, vectors)
        near = squared < MIN_DISTANCE**2
        if np.count_nonzero(near) == k:
            return [m] * k, _listed(images)
        if squared[near].max() > EXACT**2:
            digits = np.array([[last_digit(value) for value in column] for column in self.listed.written]).T
            moves = np.abs(group.rotations - np.eye(3))
            allowed = np.einsum("ki,mji->kjm", np.maximum(digits, _CLOSE), moves) + EXACT
            if (far := near & (np.abs(apart) > allowed).any(axis=1)).any():
                i, j = (int(index) for index in np.argwhere(far)[0])
                raise StructureError(
                    f"{self._call(i)} is {math.sqrt(squared[i, j]):.3f} angstrom from its own copy by {group.texts[j]}"
                    ": if this is one atom on a special position, write its coordinates with more digits (1/3 as "
                    "0.33333); else correct them"
                )
            images = group.copies(frac_coords + (apart * near[:, None]).sum(axis=2) / near.sum(axis=1)[:, None])
        counts, chosen = distinct(group, near.tobytes())
        if 0 in counts:
            raise StructureError(
                f"{self._call(counts.index(0))} is on a special position but for rounding; write its coordinates with "
                "more digits (1/3 as 0.33333)"
            )
        return counts, _listed(images)[chosen]

    def _call(self, i: int) -> str:
        return call_site(self.listed.labels, i)

    def _multiplicity(self, counts: list[int], operations: int) -> str | None:
        """Say which site has not its multiplicity; some programs give the number of operations that keep a site."""
        given = self.listed.multiplicities
        if len(given) != len(counts) or given == counts:
            return None
        for i, (said, count) in enumerate(zip(given, counts, strict=True)):
            if said not in (count, operations / count) and math.isfinite(said):
                return f"{self._call(i)} has multiplicity {said:g}, but the operations make {count} of it"
        return None


def _listed(images: Float64[np.ndarray, "k 3 M"]) -> Float64[np.ndarray, "kM 3"]:
    """Give copies within the cell, site after site."""
    return images.transpose(0, 2, 1).reshape(-1, 3) % 1.0


def fill(block: Block, cell: Cell, doubts: list[str]) -> Crystal:
    """Fill a cell by the symmetry that a block gives: its operations, or the symbol or number of its group.

    What is questionable is added to `doubts`.

    Raises:
        StructureError: when what is said of the symmetry does not agree, or not with the cell and the sites; when the
            operations are none, or the copies of a site are neither one nor apart.
    """
    filled = _by_operations(block, cell, doubts) or _by_name(block, cell)
    if filled.content.fault:
        raise StructureError(filled.content.fault)
    doubts += [doubt for doubt in (filled.content.doubt, filled.multiplicity) if doubt]
    return filled.crystal


def _by_operations(block: Block, cell: Cell, doubts: list[str]) -> Filled | None:
    """Fill the cell by the operations that the file lists; None where it lists none."""
    group = _listed_group(block)
    if group is None:
        return None
    if (broken := group.that_breaks(cell.lattice)) is not None:
        raise StructureError(
            f"the operation {broken} does not keep the lengths and angles of the cell; correct one of them"
        )
    filled = cell.filled(group)
    for name, text, groups in () if block.first(*names.MAGNETIC) else _at_odds(group, _said(block)):
        if any(_same_by(cell, filled, group, it) for it in groups):
            continue
        others = f"those of {block.spell(name)} = {text} ({' or '.join(str(len(other)) for other in groups)})"
        if not filled.content.borne_out:
            raise StructureError(
                f"the operations listed ({len(group)}, {group.name}) are not {others}; write all of them, or P1 and "
                "all atoms"
            )
        doubts.append(f"the operations listed ({len(group)}, {group.name}) are not {others}, but make the formula")
    return filled


def _listed_group(block: Block) -> Group | None:
    """Give the group of the operations that the file lists, of the magnetic ones where it has both."""
    if magnetic := block.texts(*names.MAGNETIC):
        if unknown := [name for name in block.unknown if "symop" in name.lower()]:
            raise StructureError(f"the symmetry {unknown[0]} is not understood, beside magnetic operations; correct it")
        if not (centerings := block.texts(*names.CENTERINGS)):
            return group_of(tuple(magnetic))
        products = [operation(shift) * operation(text) for shift in centerings for text in magnetic]
        return group_of(tuple(product.wrap().triplet() for product in products))
    groups = [group_of(tuple(map(plain, values))) for name in names.OPERATIONS if (values := block.values.get(name))]
    if not groups:
        if given := [block.spell(name) for name in names.OPERATIONS if block.has([name])]:
            raise StructureError(f"{given[0]} lists no operation; write them, or the symbol alone")
        return None
    if len(groups) > 1 and groups[0].codes != groups[1].codes:
        raise StructureError(
            f"{' and '.join(map(block.spell, names.OPERATIONS))} list different operations; delete one"
        )
    return groups[0]


def _same_by(cell: Cell, filled: Filled, group: Group, other: Group) -> bool:
    """Say whether another group than that of the operations would fill the cell with the same sites."""
    if other.that_breaks(cell.lattice) is not None:
        return False
    crystal = filled.crystal
    if len(other) > len(group):
        images = other.copies(crystal.frac_coords)
        return all(_alike(crystal, replace(crystal, frac_coords=images[..., k])) for k in range(len(other)))
    try:
        return _alike(crystal, cell.filled(other).crystal)
    except StructureError:
        return False


def _alike(one: Crystal, other: Crystal) -> bool:
    """Say whether two crystals of one cell have the same sites, within `_SAME`."""
    if len(one.numbers) != len(other.numbers):
        return False
    apart = one.frac_coords[:, None] - other.frac_coords
    apart -= np.rint(apart)
    close = np.square(apart @ one.lattice).sum(axis=2) < _SAME**2
    close &= one.numbers[:, None] == other.numbers
    return bool(close.any(axis=0).all() and close.any(axis=1).all())


def _by_name(block: Block, cell: Cell) -> Filled:
    """Fill the cell by the symbol or number that the file gives; P1 where it says nothing of symmetry."""
    named = _named(_said(block))
    unknown = [f"{block.spell(name)} = {text}" for name, text, groups in named if not groups]
    if unknown := unknown or ([] if named else block.unknown):
        raise StructureError(f"the symmetry {unknown[0]} is not understood; write its operations, or P1")
    if not named:
        return _not_short(cell.filled(group_of(("x,y,z",))), "nothing is said of the symmetry (P1 is taken)")
    said, groups = _agreed(block, named)
    fitting, reasons = [], []
    for group in groups:
        try:
            if (broken := group.that_breaks(cell.lattice)) is not None:
                raise StructureError(
                    f"the operation {broken} of {said} does not keep the lengths and angles of the cell"
                )
            filled = cell.filled(group)
            fault = filled.content.fault
            if len(groups) > 1:
                fault = fault or filled.multiplicity or checked([filled.crystal]).faults[0]
            if fault:
                raise StructureError(fault)
        except StructureError as fault:
            reasons.append(f"by {said} in the setting {group.name}, {fault}" if len(groups) > 1 else str(fault))
        else:
            fitting.append((group, filled))
    fitting = [pair for pair in fitting if pair[1].content.borne_out] or fitting
    if not fitting:
        raise StructureError("; ".join(reasons))
    if not all(_alike(fitting[0][1].crystal, filled.crystal) for _, filled in fitting[1:]):
        settings = " or ".join(group.name for group, _ in fitting)
        raise StructureError(
            f"{said} has several settings, and the sites fit more than one; write {settings}, or the operations"
        )
    return _not_short(fitting[0][1], f"of the symmetry, {said} alone is given")


def _not_short(filled: Filled, said: str) -> Filled:
    """Refuse a cell with fewer formula units than Z says where no operations bear it out."""
    if filled.content.short:
        raise StructureError(f"{filled.content.doubt}, and {said}; write the operations, or correct Z")
    return filled


def _said(block: Block) -> tuple[tuple[str, str], ...]:
    """Give how a block names its group: data names and what stands there."""
    return tuple((name, values[0]) for name in _NAMES if (values := block.values.get(name)))


@lru_cache(maxsize=1024)
def _named(said: tuple[tuple[str, str], ...]) -> list[tuple[str, str, tuple[Group, ...]]]:
    """Give what the names of a group may mean: the data name, what stands there, groups (none: not understood)."""
    code = next((plain(value) for name, value in said if name == names.CODE), "")
    found = []
    for name, value in said:
        text = plain(value)
        if name in names.HALL:
            found.append((name, text, groups_of_hall(text)))
        elif name in names.SYMBOLS:
            groups = settings_of(text)
            chosen = tuple(group for group in groups if code and group.setting and group.setting.ext == code.upper())
            found.append((name, text, chosen or groups))
        elif name in names.NUMBER:
            found.append((name, text, settings_of_number(int(text) if text.isdecimal() else 0, code)))
    return found


@lru_cache(maxsize=1024)
def _at_odds(group: Group, said: tuple[tuple[str, str], ...]) -> list[tuple[str, str, tuple[Group, ...]]]:
    """Give those of the names of a group that mean another one; a Hall symbol means one in its setting."""

    def is_meant(name: str, other: Group) -> bool:
        return group.codes == other.codes if name in names.HALL else group.number == other.number

    return [(name, text, it) for name, text, it in _named(said) if it and not any(is_meant(name, one) for one in it)]


def _agreed(block: Block, named: Sequence[tuple[str, str, tuple[Group, ...]]]) -> tuple[str, tuple[Group, ...]]:
    """Give the settings that all names of a group allow; a number, and the name of its type, allow every setting."""
    (first, text, groups), *rest = named
    said = f"{block.spell(first)} = {text}"
    for name, other, allowed in rest:
        codes = {group.codes for group in allowed}
        both = tuple(group for group in groups if group.codes in codes)
        of_type = name in names.NUMBER or name.endswith(("_ref", "_full"))
        if not both and not (of_type and groups[0].number == allowed[0].number):
            raise StructureError(
                f"{said} and {block.spell(name)} = {other} do not agree; correct one of them, or write the operations"
            )
        groups = both or groups
    return said, groups
