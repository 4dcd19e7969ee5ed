"""CIF text -> crystals: what is read is held against all that the file says, and told in the file's own words."""

from __future__ import annotations

import math
from string import digits
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols

from matcard.crystals import cif_blocks as names
from matcard.crystals.cif_blocks import Block, no_number, plain, read_blocks
from matcard.crystals.cif_cell import Cell, Listed, fill
from matcard.crystals.cif_content import element, formula_of, symbols_in_label
from matcard.crystals.crystals import ELEMENTS, Crystal, call_site, cell_from_parameters
from matcard.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float64

_WHOLE = 1e-3
"""An occupancy this close to 1 is 1."""
VOLUME_TOLERANCE = 0.05
"""A volume that differs more from that of the cell, as a share of it, is told."""
_FLAT = 1e-6
"""Cubic angstrom: what rounding leaves of no volume."""


def read_cif(text: str, deuterium: bool = False) -> list[Crystal]:
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
    except StructureError as fault:
        return [Crystal(fault=str(fault))]
    with_sites = [block for block in blocks if block.has(names.COORDINATES)]
    whole = [block for block in with_sites if block.has(names.CELL)]
    if not with_sites:
        said = "the CIF has no atom sites in fractional coordinates (_atom_site_fract_x)"
        if not blocks:
            said = "the CIF is empty; copy or export it again"
        return [Crystal(fault=names.NOT_UTF8 if "\0" in text or "\ufffd" in text else said)]
    found = []
    for block in whole or with_sites[:1]:
        try:
            found.append(_crystal(block, deuterium))
        except StructureError as fault:
            found.append(Crystal(fault=str(fault), name=block.name))
    return found


def _crystal(block: Block, deuterium: bool) -> Crystal:
    if block.fault:
        raise StructureError(block.fault)
    doubts: list[str] = []
    lattice, volume = _lattice(block)
    (given, *_) = names.numbers(block.first(names.VOLUME) or ["?"])
    if given > 0 and abs(given / volume - 1) >= VOLUME_TOLERANCE:
        doubts.append(
            f"{block.spell(names.VOLUME)} is {given:g}, but lengths and angles make {volume:g} cubic angstrom"
        )
    written, units = block.texts(names.FORMULA), names.numbers(block.first(names.UNITS)[:1])
    formula = formula_of(written[0], deuterium) if written else None
    sites = _sites(block, frozenset(formula or ()), deuterium, doubts)
    cell = Cell(lattice, sites, formula, units[0] if units and units[0] > 0 else None, block.measured)
    crystal = fill(block, cell, doubts)
    if any(n > 0 for n in names.numbers(block.first(names.HYDROGENS))):
        doubts.append(f"{block.spell(names.HYDROGENS)} counts hydrogen atoms that have no site")
    crystal.doubts, crystal.name = tuple(doubts), block.name
    return crystal


def _lattice(block: Block) -> tuple[Float64[np.ndarray, "3 3"], float]:
    """Give the cell and its volume."""
    given = [block.values.get(name, []) for name in names.CELL]
    parameters = names.numbers([values[0] if len(values) == 1 else "?" for values in given])
    if not (min(parameters) >= 0 and math.isfinite(sum(parameters))):
        raise _no_cell(block, given, parameters)
    lattice = cell_from_parameters(parameters)
    volume = math.prod(lattice.diagonal().tolist())
    if volume < _FLAT:
        said = " ".join(values[0] for values in given)
        raise StructureError(f"zero-volume cell: a b c alpha beta gamma = {said}; correct _cell_length_*/_cell_angle_*")
    return lattice, volume


def _no_cell(block: Block, given: Sequence[Sequence[str]], parameters: Sequence[float]) -> StructureError:
    """Say what is wrong with the lengths and angles of a cell."""
    if not block.has(names.CELL):
        return StructureError("the CIF has no cell (_cell_length_a and so on); complete it")
    spelled = [block.spell(name) for name in names.CELL]
    if lacking := [name for name, values in zip(spelled, given, strict=True) if not values]:
        return StructureError(f"{', '.join(lacking)} is missing or empty; complete it")
    for name, values, number in zip(spelled, given, parameters, strict=True):
        if len(values) > 1:
            return StructureError(f"{name} has {len(values)} values; give one")
        if not math.isfinite(number):
            return no_number(name, values[0])
        if number < 0:
            return StructureError(f"{name} is {values[0]!r}, which is no length or angle; correct it")
    return StructureError("the cell is too large; correct it")


def _sites(block: Block, formula: frozenset[str], deuterium: bool, doubts: list[str]) -> Listed:
    """Give the sites that a block lists.

    Args:
        block: the data block.
        formula: its elements; empty where there is no formula.
        deuterium: whether D is hydrogen.
        doubts: what is questionable is added to them.

    Raises:
        StructureError: something is missing, or is no element, no number or no whole atom.
    """
    columns = [block.values.get(name, []) for name in names.COORDINATES]
    if not all(columns):
        lacking = [name for name, column in zip(names.COORDINATES, columns, strict=True) if not column]
        raise StructureError(
            f"the CIF has no atom sites in fractional coordinates: {', '.join(lacking)} is missing or empty"
        )
    k = len(columns[0])
    labels, types, occupancies = [block.values.get(name, []) for name in (names.LABEL, names.TYPE, names.OCCUPANCY)]
    if not {*map(len, (*columns, labels, types, occupancies))} <= {0, k}:
        raise StructureError("the columns of the atom sites (_atom_site_...) differ in length; complete the loop")
    if not (types or labels):
        raise StructureError(
            "the atom sites have neither _atom_site_type_symbol nor _atom_site_label; add the elements"
        )
    anisotropic = block.texts(names.ANISOTROPIC)
    if labels and anisotropic and (others := set(anisotropic) - set(map(plain, labels))):
        raise StructureError(
            f"{block.spell(names.ANISOTROPIC)} names {min(others)}, which has no atom site; complete the sites"
        )
    called = labels or types
    numbers = _elements(labels, types, formula, deuterium, doubts)
    _refuse_partial(occupancies, called)
    values = names.numbers([*columns[0], *columns[1], *columns[2]])
    if not math.isfinite(sum(values)):
        place = next(place for place, value in enumerate(values) if not math.isfinite(value))
        axis, i = divmod(place, k)
        if names.is_null(columns[axis][i]):
            raise StructureError(f"{call_site(called, i)} has no coordinate {'xyz'[axis]}; complete or delete it")
        raise no_number(f"the coordinate {'xyz'[axis]} of {call_site(called, i)}", columns[axis][i])
    multiplicities = names.numbers(block.first(*names.MULTIPLICITY))
    return Listed(called, numbers, np.array(values).reshape(3, k).T, columns, multiplicities)


def _elements(
    labels: Sequence[str], types: Sequence[str], formula: frozenset[str], deuterium: bool, doubts: list[str]
) -> list[int]:
    words, called = types or labels, labels or types
    numbers = [0] * len(words)
    if types:  # in most files a label is the type, an element, and a number
        numbers = [
            ELEMENTS.get(word, 0) * (label.rstrip(digits) == word) for label, word in zip(called, types, strict=True)
        ]
    guessed, contradicted = [], []
    for i in [i for i, number in enumerate(numbers) if not number]:
        try:
            meant = symbols_in_label(plain(called[i]))
            numbers[i], is_guess = element(plain(words[i]), formula, not types, deuterium)
        except StructureError as fault:
            raise StructureError(f"{call_site(called, i)} {fault}") from None
        if is_guess:
            guessed.append(i)
        if meant and types and chemical_symbols[numbers[i]] not in meant and (not formula or meant & formula):
            contradicted.append(i)
    for places, said in (
        (guessed, "is read as {} from {!r}"),
        (contradicted, "is {} by its type {!r}, not by its label"),
    ):
        if places:
            i = places[0]
            more = f", and {len(places) - 1} more in this way" if places[1:] else ""
            doubts.append(f"{call_site(called, i)} {said.format(chemical_symbols[numbers[i]], plain(words[i]))}{more}")
    return numbers


def _refuse_partial(occupancies: Sequence[str], called: Sequence[str]) -> None:
    for value in dict.fromkeys(occupancies):
        (number,) = names.numbers([value])
        if abs(number - 1) <= _WHOLE or value == "?":
            continue
        site, said = call_site(called, occupancies.index(value)), plain(value)
        if 0 < number < 1:
            raise StructureError(
                f"{site} is disordered (occupancy {said}); use an ordered structure, one whole atom a site"
            )
        if number == 0 or value == ".":
            raise StructureError(f"{site} has occupancy {said!r}; write 1 or delete the site")
        if math.isnan(number):
            raise no_number(f"the occupancy of {site}", value)
        raise StructureError(f"{site} has occupancy {said}, which is impossible; write 1")
