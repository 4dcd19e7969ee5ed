"""What atoms the sites of a CIF are, and how those in the cell compare with its formula."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ase.data import chemical_symbols

from matcard.crystals.crystals import ELEMENTS, StructureError

if TYPE_CHECKING:
    from collections.abc import Mapping

# An element, and how it may be charged: Na+, Na1+, O2-, O-2, Fe2.5+.
_TYPE = re.compile(r"[A-Za-z]{1,2}(?:\d*\.?\d*[+-]|[+-]\d*\.?\d*)?")
_TERM = re.compile(r"([A-Z][a-z]?)\s*(\d+\.?\d*|\.\d+)?\s*")
# Two elements, or amounts of them, in one symbol: Nb,Zr or Fe/Mg or Ni0.8Co0.2.
_MIXED = re.compile(r"[A-Za-z][\d.+-]*\s*[,/;:&|+]\s*[\d.]*[A-Z]|[A-Za-z]\d*\.\d+\s*[A-Z]")
# Amounts in formulas are rounded.
_ROUNDED = 0.005


class Atom(NamedTuple):
    """The element of a site, and whether something was guessed."""

    number: int
    guessed: bool


class Content(NamedTuple):
    """How the atoms in a cell compare with the formula: at odds (a reason), or in doubt, or equal."""

    fault: str | None = None
    doubt: str | None = None
    borne_out: bool = False
    """Whether they are Z times the formula, or the formula where that is the cell's."""
    short: bool = False
    """Whether they are fewer times the formula than Z says."""


@lru_cache(maxsize=4096)
def element(written: str, formula: frozenset[str], is_label: bool, deuterium: bool) -> Atom:
    """Give the element that a type symbol or a label stands for.

    A type symbol is an element, with or without its charge. A label begins with one; where its capitals may be read
    in two ways (`HO1`, `CA2`), or more letters follow (`OW1`), the formula decides.

    Args:
        written: type symbol or label, without quotes.
        formula: elements of the formula; empty where there is none.
        is_label: whether it is a label.
        deuterium: whether D is hydrogen.

    Raises:
        StructureError: when it is none, several, or not to be told.
    """
    refuse_mixed(written)
    word = re.split("[^A-Za-z]", written, maxsplit=1)[0]
    two, one, symbol = word[:2].title(), word[:1].upper(), word.title()
    is_type = not is_label and _TYPE.fullmatch(written) is not None
    if symbol == "D" and deuterium and (is_type or is_label):
        return Atom(1, False)
    proper = word == symbol  # as in Ho, not HO or ho
    if symbol in ELEMENTS and (is_type or is_label) and (proper or (is_type and not formula)):
        return Atom(ELEMENTS[symbol], not proper and len(word) == 2 and one == "H")
    if symbol in ELEMENTS and is_type and (symbol in formula or one not in formula):
        return Atom(ELEMENTS[symbol], False)
    readings = {two, one} & ELEMENTS.keys() & (formula or ELEMENTS.keys())
    if len(readings) == 1 and (formula or symbol in readings):
        return Atom(ELEMENTS[readings.pop()], guessed=True)
    if len(readings) == 2 and len(word) == 2:
        raise StructureError(
            f"has {written!r}, which may be {two} or {one}; write an element in _atom_site_type_symbol"
        )
    raise StructureError(
        f"has the unknown element {written!r}; write an element in _atom_site_type_symbol (deuterium: H)"
    )


def refuse_mixed(written: str) -> None:
    """Refuse a type symbol or a label of several elements, such as 'Nb,Zr' and Fe/Mg1.

    Raises:
        StructureError: when it is one.
    """
    word = re.split("[^A-Za-z]", written, maxsplit=1)[0]
    named = re.findall("[A-Z][a-z]?", word)
    several = len(named) > 1 and word != word.upper() and all(symbol in ELEMENTS for symbol in named)
    if several or _MIXED.search(written):
        raise StructureError(f"is disordered ({written}); use an ordered structure, one whole atom a site")


@lru_cache(maxsize=4096)
def formula_of(written: str, deuterium: bool) -> Mapping[int, float] | None:
    """Give the amounts of elements, by atomic number, in a formula such as 'C6 H6 O' or 'Na4Cl4'.

    D is hydrogen if `deuterium` says so, else number 0. None where the formula is written in another way.
    """
    amounts: dict[int, float] = {}
    position = 0
    while position < len(written):
        match = _TERM.match(written, position)
        number = ELEMENTS.get(match[1], int(deuterium) if match[1] == "D" else -1) if match else -1
        if match is None or number < 0:
            return None
        amounts[number] = amounts.get(number, 0.0) + float(match[2] or 1)
        position = match.end()
    return {number: amount for number, amount in amounts.items() if amount} or None


@lru_cache(maxsize=4096)
def elements_of(written: str, deuterium: bool) -> frozenset[str]:
    """Give the symbols of the elements in a formula."""
    return frozenset(map(_symbol, formula_of(written, deuterium) or ()))


def compare(
    numbers: Mapping[int, int], formula: Mapping[int, float] | None, units: float | None, measured: bool
) -> Content:
    """Hold the atoms in a cell against the formula, which may be that of the cell.

    More atoms than Z times the formula are a fault, and so are fewer where nothing was measured. Atoms that an
    experiment did not locate, hydrogen that is missing, and Z where it alone is at odds are doubts.

    Args:
        numbers: how many atoms of each atomic number the cell holds.
        formula: amounts by atomic number; None where there is none.
        units: Z, the formula units in the cell; None where it is not given.
        measured: whether the structure comes from an experiment.
    """
    if formula is None:
        return Content()
    ratios = {number: numbers.get(number, 0) / amount for number, amount in formula.items()}
    low, high = min(ratios.values()), max(ratios.values())
    alike = len(formula) == len(numbers) and not _above(high, low)
    ratio = high if alike else max([each for number, each in ratios.items() if number > 1] or [high])
    whole = units is not None and (
        _equal(ratio, units) or (_equal(ratio, 1.0) and not any(amount % units for amount in formula.values()))
    )
    if alike and (whole or units is None):
        return Content(borne_out=whole)
    said = " ".join(f"{_symbol(number)}{amount:g}" for number, amount in formula.items())
    made = f"the sites and the symmetry make {' '.join(f'{_symbol(n)}{count}' for n, count in numbers.items())}"
    if strange := [number for number in numbers if number not in formula]:
        return Content(f"the sites hold {_symbol(strange[0])}, which the formula {said} has not; correct one of them")
    if units and _above(ratio, units):
        return Content(f"{made}, more than Z = {units:g} of {said}; correct the symmetry, the formula or Z")
    if any(_above(each, ratio) for each in ratios.values()):
        return Content(f"{made}, with more hydrogen than the formula {said}; correct one of them")
    fewer = [number for number, each in ratios.items() if _above(ratio, each)]
    if not fewer:
        return Content(doubt=f"{made}, but Z = {units:g} of {said} are more", short=True)
    lacking = f"{made}, with less {' '.join(map(_symbol, fewer))} than the formula {said}"
    if measured or max(fewer) <= 1:
        return Content(doubt=f"Missing elements: {lacking}")
    return Content(f"{lacking}; sites or operations are missing")


def _symbol(number: int) -> str:
    return chemical_symbols[number] if number else "D"


def _above(one: float, other: float) -> bool:
    return one > other * (1 + _ROUNDED)


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= _ROUNDED * other
