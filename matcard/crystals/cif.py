"""CIF text -> crystals: what is read is held against all that the file says, and told in the file's own words."""

from __future__ import annotations

import math
from bisect import bisect
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import gemmi
import numpy as np
from ase.data import chemical_symbols

from matcard.crystals import cif_blocks as names
from matcard.crystals.cif_blocks import Block, CifError, last_digit, no_number, plain, read_blocks
from matcard.crystals.cif_content import Content, compare, element, formula_of
from matcard.crystals.symmetry import (
    Group,
    Sites,
    SymmetryError,
    coincide,
    expand,
    group_of,
    groups_of_hall,
    maps_onto_itself,
    operation,
    settings_of,
    settings_of_number,
)
from matcard.crystals.validate import MIN_HEIGHT, closest_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jaxtyping import Float64, UInt8

_WHOLE = 1e-3
"""An occupancy this close to 1 is 1."""


@dataclass(frozen=True, eq=False)
class CifCrystal:
    """What one data block of a CIF holds: a crystal, or a fault.

    Attributes:
        name: of the block.
        lattice: (3, 3), angstrom; rows a, b, c, of which c lies along z and a in the xz plane.
        numbers: (n,) atomic numbers.
        frac_coords: (n, 3), from 0 to 1, in units of the lattice vectors.
        fault: why there is no crystal, or None.
        doubts: what is questionable about it, though it was read.
    """

    name: str
    lattice: Float64[np.ndarray, "3 3"] = field(default_factory=lambda: np.zeros((3, 3)))
    numbers: UInt8[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.uint8))
    frac_coords: Float64[np.ndarray, "n 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    fault: str | None = None
    doubts: tuple[str, ...] = ()


def read_cif(text: str, deuterium: bool = False) -> list[CifCrystal]:
    """Read every crystal of CIF text, one a data block.

    Blocks without sites or without a cell are passed over where another block has both. Symmetry is never guessed:
    operations, symbol, number, cell, formula and Z are held against each other, and a crystal that they do not agree
    on has a fault.

    Args:
        text: of the file.
        deuterium: whether D is read as hydrogen.

    Returns:
        At least one; a text without a crystal gives one with a fault and without a name.
    """
    try:
        blocks = read_blocks(text)
    except CifError as fault:
        return [CifCrystal("", fault=str(fault))]
    with_sites = [block for block in blocks if block.has(names.COORDINATES)]
    whole = [block for block in with_sites if block.has(names.CELL)]
    if not with_sites:
        decoded = "\0" not in text and "\ufffd" not in text
        said = "the CIF has no atom sites in fractional coordinates (_atom_site_fract_x)"
        return [CifCrystal("", fault=said if decoded else names.NOT_UTF8)]
    return [_judged(block, deuterium) for block in whole or with_sites[:1]]


@dataclass(frozen=True)
class _Listed:
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

    @cached_property
    def digits(self) -> Float64[np.ndarray, "k 3"]:
        """What one in the last digit of each coordinate is worth."""
        return np.array([[last_digit(value) for value in column] for column in self.written]).T

    def call(self, i: int) -> str:
        """Give what messages call a site."""
        return _call(self.labels, i)


@dataclass(frozen=True)
class _Filled:
    """A cell as a group fills it."""

    frac_coords: Float64[np.ndarray, "n 3"]
    numbers: UInt8[np.ndarray, " n"]
    content: Content
    """How it compares with the formula."""
    multiplicity: str | None
    """What is said if a site has not the multiplicity that the file gives."""


@dataclass(frozen=True)
class _Cell:
    """What is to be filled: a cell, the sites listed, and what the formula asks for."""

    lattice: Float64[np.ndarray, "3 3"]
    thinnest: float
    """The least distance between opposite faces, in angstrom."""
    listed: _Listed
    formula: Mapping[str, float] | None
    units: float | None
    """Z, the formula units in it."""
    measured: bool
    """Whether it comes from an experiment."""

    def filled(self, group: Group) -> _Filled:
        """Fill the cell with all copies of the sites listed.

        Raises:
            CifError: when sites overlap.
            SymmetryError: when copies of a site are neither one nor apart.
        """
        listed = self.listed
        digits = listed.digits if len(group) > 1 else listed.frac_coords
        sites = expand(group, listed.frac_coords, digits, self.lattice, listed.call)
        ends = list(accumulate(sites.counts))
        heads = [end - count for end, count in zip(ends, sites.counts, strict=True)]
        if (overlap := closest_sites(self.lattice, sites.frac_coords, self.thinnest, heads)) is not None:
            one, other = (listed.call(bisect(ends, k)) for k in overlap[:2])
            other = "its own copy" if one == other else other
            raise CifError(f"{one} and {other} overlap, {overlap[2]:.3f} angstrom apart; delete one or correct them")
        atoms: dict[int, int] = {}
        for number, count in zip(listed.numbers, sites.counts, strict=True):
            atoms[number] = atoms.get(number, 0) + count
        content = compare(atoms, self.formula, self.units, self.measured)
        numbers = np.array(listed.numbers, dtype=np.uint8)
        return _Filled(sites.frac_coords, numbers.repeat(sites.counts), content, self._multiplicity(sites, len(group)))

    def alike(self, one: _Filled, other: _Filled) -> bool:
        """Say whether two ways fill the cell with the same sites."""
        lattice = self.lattice
        return coincide(one.numbers, one.frac_coords, other.numbers, other.frac_coords, lattice)

    def _multiplicity(self, sites: Sites, operations: int) -> str | None:
        """Say which site has not its multiplicity; some programs give the number of operations that keep a site."""
        given = self.listed.multiplicities
        if len(given) != len(sites.counts):
            return None
        for i, (said, count) in enumerate(zip(given, sites.counts, strict=True)):
            if said not in (count, operations / count) and math.isfinite(said):
                return f"{self.listed.call(i)} has multiplicity {said:g}, but the operations make {count} of it"
        return None


def _judged(block: Block, deuterium: bool) -> CifCrystal:
    try:
        return _crystal(block, deuterium)
    except (CifError, SymmetryError) as fault:
        return CifCrystal(block.name, fault=str(fault))


def _crystal(block: Block, deuterium: bool) -> CifCrystal:
    if block.twice:
        raise CifError(block.twice[0])
    if block.modulated:
        raise CifError(f"the structure is modulated ({block.modulated}); one cell does not hold it")
    doubts: list[str] = []
    lattice, thinnest = _lattice(block)
    written, units = block.texts(names.FORMULA), names.numbers(block.texts(names.UNITS)[:1])
    formula = formula_of(written[0], deuterium) if written else None
    listed = _sites(block, frozenset(formula or ()), deuterium, doubts)
    cell = _Cell(lattice, thinnest, listed, formula, units[0] if units and units[0] > 0 else None, block.measured)
    filled = _by_operations(block, cell, doubts) or _by_name(block, cell)
    if filled.content.fault:
        raise CifError(filled.content.fault)
    doubts += [doubt for doubt in (filled.content.doubt, filled.multiplicity) if doubt]
    if any(value > 0 for value in names.numbers(block.texts(names.HYDROGENS))):
        doubts.append(f"{block.spell(names.HYDROGENS)} counts hydrogen atoms that have no site")
    return CifCrystal(block.name, lattice, filled.numbers, filled.frac_coords, doubts=tuple(doubts))


def _call(labels: Sequence[str], i: int) -> str:
    return f"atom site {i + 1} ({plain(labels[i])})"


def _lattice(block: Block) -> tuple[Float64[np.ndarray, "3 3"], float]:
    """Give the cell, c along z and a in the xz plane, and the least distance between its faces."""
    given = [block.values.get(name, []) for name in names.CELL]
    if lacking := [block.spell(name) for name, values in zip(names.CELL, given, strict=True) if not values]:
        if not block.has(names.CELL):
            raise CifError("the CIF has no cell (_cell_length_a and so on); complete it")
        raise CifError(f"{', '.join(lacking)} is missing or empty; complete it")
    parameters = [gemmi.cif.as_number(plain(values[0])) for values in given]
    for name, values, number in zip(names.CELL, given, parameters, strict=True):
        if len(values) > 1:
            raise CifError(f"{block.spell(name)} has {len(values)} values; give one")
        if not math.isfinite(number):
            raise no_number(block.spell(name), values[0])
        if number < 0:
            raise CifError(f"{block.spell(name)} is '{values[0]}', which is no length or angle; correct it")
    a, b, c = parameters[:3]
    angles = [math.radians(angle) for angle in parameters[3:]]
    cos, sin = [math.cos(angle) for angle in angles], [math.sin(angle) for angle in angles]
    square = 1 + 2 * math.prod(cos) - sum(cosine**2 for cosine in cos)
    faces = b * c * sin[0], c * a * sin[1], a * b * sin[2]
    thinnest = a * b * c * math.sqrt(max(square, 0.0)) / max(faces) if min(faces) > 0 else 0.0
    if not thinnest >= MIN_HEIGHT:
        said = " ".join(values[0] for values in given)
        raise CifError(f"zero-volume cell: a b c alpha beta gamma = {said}; correct _cell_length_*/_cell_angle_*")
    turn = (cos[0] * cos[1] - cos[2]) / (sin[0] * sin[1])
    rows = [
        [a * sin[1], 0.0, a * cos[1]],
        [-b * sin[0] * turn, b * sin[0] * math.sqrt(max(1 - turn**2, 0.0)), b * cos[0]],
        [0.0, 0.0, c],
    ]
    return np.array(rows), thinnest


def _sites(block: Block, formula: frozenset[str], deuterium: bool, doubts: list[str]) -> _Listed:
    columns = [block.values.get(name, []) for name in names.COORDINATES]
    if lacking := [name for name, column in zip(names.COORDINATES, columns, strict=True) if not column]:
        raise CifError(f"the CIF has no atom sites in fractional coordinates: {', '.join(lacking)} is missing or empty")
    k = len(columns[0])
    labels, types, occupancies = (block.values.get(name, []) for name in (names.LABEL, names.TYPE, names.OCCUPANCY))
    if not {len(column) for column in (*columns, labels, types, occupancies)} <= {0, k}:
        raise CifError("the columns of the atom sites (_atom_site_...) differ in length; complete the loop")
    if not (types or labels):
        raise CifError("the atom sites have neither _atom_site_type_symbol nor _atom_site_label; add the elements")
    if labels and (others := set(block.texts(names.ANISOTROPIC)) - set(map(plain, labels))):
        raise CifError(
            f"{block.spell(names.ANISOTROPIC)} names {min(others)}, which has no atom site; complete the sites"
        )
    called = labels or types
    numbers = _elements(labels, types, formula, deuterium, doubts)
    _refuse_partial(occupancies, called)
    values = [names.numbers(column) for column in columns]
    if not math.isfinite(sum(map(sum, values))):
        axis, i = next((axis, i) for i in range(k) for axis in range(3) if not math.isfinite(values[axis][i]))
        if names.is_null(columns[axis][i]):
            raise CifError(f"{_call(called, i)} has no coordinate {'xyz'[axis]}; complete or delete it")
        raise no_number(f"the coordinate {'xyz'[axis]} of {_call(called, i)}", columns[axis][i])
    return _Listed(called, numbers, np.array(values).T, columns, names.numbers(block.texts(*names.MULTIPLICITY)))


def _elements(
    labels: Sequence[str], types: Sequence[str], formula: frozenset[str], deuterium: bool, doubts: list[str]
) -> list[int]:
    found, guessed = [], []
    for i, written in enumerate(types or labels):
        try:
            if types and labels and ("/" in labels[i] or "," in labels[i]):
                element(plain(labels[i]), formula, is_label=True, deuterium=True)
            atom = element(plain(written), formula, not types, deuterium)
        except CifError as fault:
            raise CifError(f"{_call(labels or types, i)} {fault}") from None
        found.append(atom.number)
        if atom.guessed:
            guessed.append(f"{_call(labels or types, i)} is read as {chemical_symbols[atom.number]} from {written!r}")
    if guessed:
        doubts.append(guessed[0] + (f", and {len(guessed) - 1} more in this way" if guessed[1:] else ""))
    return found


def _refuse_partial(occupancies: Sequence[str], called: Sequence[str]) -> None:
    for value in dict.fromkeys(occupancies):
        (number,) = names.numbers([value])
        if abs(number - 1) <= _WHOLE or value == "?":
            continue
        site, said = _call(called, occupancies.index(value)), plain(value)
        if 0 < number < 1:
            raise CifError(f"{site} is disordered (occupancy {said}); use an ordered structure, one whole atom a site")
        if number == 0 or value == ".":
            raise CifError(f"{site} has occupancy {said!r}; write 1 or delete the site")
        if math.isnan(number):
            raise no_number(f"the occupancy of {site}", value)
        raise CifError(f"{site} has occupancy {said}, which is impossible; write 1")


def _by_operations(block: Block, cell: _Cell, doubts: list[str]) -> _Filled | None:
    """Fill the cell by the operations that the file lists; None where it lists none."""
    group = _listed_group(block)
    if group is None:
        return None
    if (broken := group.first_that_breaks(cell.lattice)) is not None:
        raise CifError(f"the operation {broken} does not keep the lengths and angles of the cell; correct one of them")
    filled = cell.filled(group)
    for name, text, groups in [] if block.texts(*names.MAGNETIC) else _named(block):
        exact = name in names.HALL
        if not groups or any(group.codes == it.codes if exact else group.number == it.number for it in groups):
            continue
        if any(_same_by(cell, filled, group, it) for it in groups):
            continue
        others = f"those of {block.spell(name)} = {text} ({' or '.join(str(len(other)) for other in groups)})"
        if not filled.content.borne_out:
            raise CifError(
                f"the operations listed ({len(group)}, {group.name}) are not {others}; write all of them, or P1 and "
                "all atoms"
            )
        doubts.append(f"the operations listed ({len(group)}, {group.name}) are not {others}, but make the formula")
    return filled


def _listed_group(block: Block) -> Group | None:
    """Give the group of the operations that the file lists, of the magnetic ones where it has both."""
    if magnetic := block.texts(*names.MAGNETIC):
        if not (centerings := block.texts(*names.CENTERINGS)):
            return group_of(tuple(magnetic))
        products = [operation(shift) * operation(text) for shift in centerings for text in magnetic]
        return group_of(tuple(product.wrap().triplet() for product in products))
    groups = [group_of(tuple(texts)) for name in names.OPERATIONS if (texts := block.texts(name))]
    if not groups:
        if given := [block.spell(name) for name in names.OPERATIONS if block.has([name])]:
            raise CifError(f"{given[0]} lists no operation; write them, or the symbol alone")
        return None
    if len(groups) > 1 and groups[0].codes != groups[1].codes:
        raise CifError(f"{' and '.join(map(block.spell, names.OPERATIONS))} list different operations; delete one")
    return groups[0]


def _same_by(cell: _Cell, filled: _Filled, group: Group, other: Group) -> bool:
    """Say whether another group than that of the operations would fill the cell with the same sites."""
    if other.first_that_breaks(cell.lattice) is not None:
        return False
    if len(other) > len(group):
        return maps_onto_itself(other, filled.numbers, filled.frac_coords, cell.lattice)
    try:
        return cell.alike(cell.filled(other), filled)
    except (CifError, SymmetryError):
        return False


def _by_name(block: Block, cell: _Cell) -> _Filled:
    """Fill the cell by the symbol or number that the file gives; P1 where it says nothing of symmetry."""
    named = _named(block)
    unknown = [f"{block.spell(name)} = {text}" for name, text, groups in named if not groups]
    if unknown := unknown or ([] if named else block.unknown):
        raise CifError(f"the symmetry {unknown[0]} is not understood; write its operations, or P1")
    if not named:
        return _not_short(cell.filled(group_of(("x,y,z",))), "nothing is said of the symmetry (P1 is taken)")
    said, groups = _agreed(block, named)
    fitting, reasons = [], []
    for group in groups:
        try:
            if (broken := group.first_that_breaks(cell.lattice)) is not None:
                raise CifError(f"the operation {broken} of {said} does not keep the lengths and angles of the cell")
            filled = cell.filled(group)
            if filled.content.fault or (len(groups) > 1 and filled.multiplicity):
                raise CifError(filled.content.fault or filled.multiplicity or "")
        except (CifError, SymmetryError) as fault:
            reasons.append(f"by {said} in the setting {group.name}, {fault}" if len(groups) > 1 else str(fault))
        else:
            fitting.append((group, filled))
    fitting = [pair for pair in fitting if pair[1].content.borne_out] or fitting
    if not fitting:
        raise CifError("; ".join(reasons))
    if not all(cell.alike(fitting[0][1], filled) for _, filled in fitting[1:]):
        settings = " or ".join(group.name for group, _ in fitting)
        raise CifError(
            f"{said} has several settings, and the sites fit more than one; write {settings}, or the operations"
        )
    return _not_short(fitting[0][1], f"of the symmetry, {said} alone is given")


def _not_short(filled: _Filled, said: str) -> _Filled:
    """Refuse a cell with fewer formula units than Z says where no operations bear it out."""
    if filled.content.short:
        raise CifError(f"{filled.content.doubt}, and {said}; write the operations, or correct Z")
    return filled


def _named(block: Block) -> list[tuple[str, str, tuple[Group, ...]]]:
    """Give how the file names its group: by which data name, how, and what that may mean (none: not understood)."""
    (code,) = block.texts(names.CODE)[:1] or [""]
    finders: tuple[tuple[Sequence[str], Callable[[str], tuple[Group, ...]]], ...] = (
        (names.HALL, groups_of_hall),
        (names.SYMBOLS, lambda symbol: _in_setting(settings_of(symbol), code)),
        (names.NUMBER, lambda text: settings_of_number(int(text) if text.isdecimal() else 0, code)),
    )
    return [
        (name, texts[0], find(texts[0]))
        for alternatives, find in finders
        for name in alternatives
        if (texts := block.texts(name))
    ]


def _in_setting(groups: tuple[Group, ...], code: str) -> tuple[Group, ...]:
    """Give those of the settings of a symbol that a code such as 2 or R names."""
    if code.upper() not in ("1", "2", "H", "R"):
        return groups
    chosen = tuple(group for group in groups if group.setting is not None and group.setting.ext == code.upper())
    return chosen or groups


def _agreed(block: Block, named: Sequence[tuple[str, str, tuple[Group, ...]]]) -> tuple[str, tuple[Group, ...]]:
    """Give the settings that all names of a group allow; a number, and the name of its type, allow every setting."""
    (first, text, groups), *rest = named
    said = f"{block.spell(first)} = {text}"
    for name, other, allowed in rest:
        codes = {group.codes for group in allowed}
        both = tuple(group for group in groups if group.codes in codes)
        of_type = name in names.NUMBER or name.endswith(("_ref", "_full"))
        if not both and not (of_type and groups[0].number == allowed[0].number):
            raise CifError(
                f"{said} and {block.spell(name)} = {other} do not agree; correct one of them, or write the operations"
            )
        groups = both or groups
    return said, groups
