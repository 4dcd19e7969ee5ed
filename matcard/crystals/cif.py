"""CIF text -> crystals: what is read is held against all that the file says, and told in the file's own words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import gemmi
import numpy as np
from ase.data import chemical_symbols

from matcard.crystals import cif_blocks as names
from matcard.crystals.cif_blocks import Block, no_number, plain, read_blocks
from matcard.crystals.cif_cell import Cell, Listed, call_site, fill
from matcard.crystals.cif_content import Atom, element, elements_of, formula_of, refuse_mixed
from matcard.crystals.crystals import Crystal, StructureError, cell_from_parameters
from matcard.crystals.validate import MIN_HEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float64

_WHOLE = 1e-3
"""An occupancy this close to 1 is 1."""
VOLUME_TOLERANCE = 0.05
"""A volume that differs more from that of the cell, as a share of it, is told."""


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
        decoded = "\0" not in text and "\ufffd" not in text
        said = "the CIF has no atom sites in fractional coordinates (_atom_site_fract_x)"
        return [Crystal(fault=said if decoded else names.NOT_UTF8)]
    return [_judged(block, deuterium) for block in whole or with_sites[:1]]


def _judged(block: Block, deuterium: bool) -> Crystal:
    try:
        return _crystal(block, deuterium)
    except StructureError as fault:
        return Crystal(fault=str(fault), name=block.name)


def _crystal(block: Block, deuterium: bool) -> Crystal:
    if block.twice:
        raise StructureError(block.twice[0])
    if block.modulated:
        raise StructureError(f"the structure is modulated ({block.modulated}); one cell does not hold it")
    doubts: list[str] = []
    lattice, thinnest = _lattice(block)
    if (volume := _other_volume(block, lattice)) is not None:
        doubts.append(volume)
    written, units = block.texts(names.FORMULA), names.numbers(block.texts(names.UNITS)[:1])
    formula = formula_of(written[0], deuterium) if written else None
    listed = _sites(block, elements_of(written[0], deuterium) if written else frozenset(), deuterium, doubts)
    cell = Cell(lattice, thinnest, listed, formula, units[0] if units and units[0] > 0 else None, block.measured)
    filled = fill(block, cell, doubts)
    if names.HYDROGENS in block.values and any(n > 0 for n in names.numbers(block.values[names.HYDROGENS])):
        doubts.append(f"{block.spell(names.HYDROGENS)} counts hydrogen atoms that have no site")
    return Crystal(lattice, filled.numbers, filled.frac_coords, tuple(doubts), name=block.name)


def _lattice(block: Block) -> tuple[Float64[np.ndarray, "3 3"], float]:
    """Give the cell, c along z and a in the xz plane, and the least distance between its faces."""
    given = [block.values.get(name, []) for name in names.CELL]
    parameters = [gemmi.cif.as_number(values[0]) if values else math.nan for values in given]
    if math.isnan(sum(parameters)):
        parameters = [gemmi.cif.as_number(plain(values[0])) if values else math.nan for values in given]
    if not (min(parameters) >= 0 and math.isfinite(sum(parameters)) and sum(map(len, given)) == len(given)):
        raise _no_cell(block, given, parameters)
    lattice, thinnest = cell_from_parameters(parameters)
    if not thinnest >= MIN_HEIGHT:
        said = " ".join(values[0] for values in given)
        raise StructureError(f"zero-volume cell: a b c alpha beta gamma = {said}; correct _cell_length_*/_cell_angle_*")
    return lattice, thinnest


def _other_volume(block: Block, lattice: Float64[np.ndarray, "3 3"]) -> str | None:
    """Say that the file gives the cell another volume than its lengths and angles do; None where it does not."""
    given = names.numbers(block.values.get(names.VOLUME, [])[:1])
    if not given or not given[0] > 0:
        return None
    volume = abs(float(np.linalg.det(lattice)))
    if abs(given[0] / volume - 1) < VOLUME_TOLERANCE:
        return None
    return f"{block.spell(names.VOLUME)} is {given[0]:g}, but lengths and angles make {volume:g} cubic angstrom"


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
    columns = [block.values.get(name, []) for name in names.COORDINATES]
    if lacking := [name for name, column in zip(names.COORDINATES, columns, strict=True) if not column]:
        raise StructureError(
            f"the CIF has no atom sites in fractional coordinates: {', '.join(lacking)} is missing or empty"
        )
    k = len(columns[0])
    labels, types, occupancies = (block.values.get(name, []) for name in (names.LABEL, names.TYPE, names.OCCUPANCY))
    if not {len(column) for column in (*columns, labels, types, occupancies)} <= {0, k}:
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
    values = [names.numbers(column) for column in columns]
    if not math.isfinite(sum(map(sum, values))):
        axis, i = next((axis, i) for i in range(k) for axis in range(3) if not math.isfinite(values[axis][i]))
        if names.is_null(columns[axis][i]):
            raise StructureError(f"{call_site(called, i)} has no coordinate {'xyz'[axis]}; complete or delete it")
        raise no_number(f"the coordinate {'xyz'[axis]} of {call_site(called, i)}", columns[axis][i])
    return Listed(
        called, numbers, np.array(values, order="F").T, columns, names.numbers(block.texts(*names.MULTIPLICITY))
    )


def _elements(
    labels: Sequence[str], types: Sequence[str], formula: frozenset[str], deuterium: bool, doubts: list[str]
) -> list[int]:
    words = types or labels
    joined = "".join(labels) if types else ""
    found: dict[str, Atom] = {}
    for i, word in enumerate(words):
        try:
            if "/" in joined or "," in joined:
                refuse_mixed(plain(labels[i]))
            if word not in found:
                found[word] = element(plain(word), formula, not types, deuterium)
        except StructureError as fault:
            raise StructureError(f"{call_site(labels or types, i)} {fault}") from None
    if guessed := [i for i, word in enumerate(words) if found[word].guessed]:
        i = guessed[0]
        symbol = chemical_symbols[found[words[i]].number]
        said = f"{call_site(labels or types, i)} is read as {symbol} from {plain(words[i])!r}"
        doubts.append(said + (f", and {len(guessed) - 1} more in this way" if guessed[1:] else ""))
    return [found[word].number for word in words]


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
