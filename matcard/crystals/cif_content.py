"""What atoms the sites of a CIF are, and how those in the cell compare with its formula."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from matcard.crystals.crystals import ELEMENTS
from matcard.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Mapping

# An element, and how it may be charged: Na+, Na1+, O2-, O-2, Fe2.5+.
_TYPE = re.compile(r"[A-Za-z]{1,2}(?:\d*\.?\d*[+-]|[+-]\d*\.?\d*)?")
_TERM = re.compile(r"([A-Z][a-z]?)\s*(\d+\.?\d*|\.\d+)?\s*")
# Two elements, or amounts of them, in one symbol: Nb,Zr or Fe/Mg or Ni0.8Co0.2.
_MIXED = re.compile(r"[A-Za-z][\d.+-]*\s*[,/;:&|+]\s*[\d.]*[A-Z]|[A-Za-z]\d*\.\d+\s*[A-Z]")
# Amounts in formulas are rounded.
_ROUNDED = 0.005
_HYDROGEN = {"H", "D"}


class Content(NamedTuple):
    """How the atoms in a cell compare with the formula: at odds (a reason), or in doubt, or equal."""

    fault: str | None = None
    doubt: str | None = None
    borne_out: bool = False
    """Whether they are Z times the formula, or the formula where that is the cell's."""
    short: bool = False
    """Whether they are fewer times the formula than Z says."""


@lru_cache(maxsize=4096)
def element(written: str, formula: frozenset[str], is_label: bool, deuterium: bool) -> tuple[int, bool]:
    """Give the atomic number that a type symbol or a label stands for, and whether it is guessed.

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
    _refuse_mixed(written)
    word = re.split("[^A-Za-z]", written, maxsplit=1)[0]
    two, one, symbol = word[:2].title(), word[:1].upper(), word.title()
    is_type = not is_label and _TYPE.fullmatch(written) is not None
    if symbol == "D" and deuterium and (is_type or is_label):
        return 1, False
    proper = word == symbol  # as in Ho, not HO or ho
    if symbol in ELEMENTS and (is_type or is_label) and (proper or (is_type and not formula)):
        return ELEMENTS[symbol], not proper and len(word) == 2 and one == "H"
    if symbol in ELEMENTS and is_type and (symbol in formula or one not in formula):
        return ELEMENTS[symbol], False
    readings = {two, one} & ELEMENTS.keys() & (formula or ELEMENTS.keys())
    if len(readings) == 1 and (formula or symbol in readings):
        return ELEMENTS[readings.pop()], True
    if len(readings) == 2 and len(word) == 2:
        raise StructureError(
            f"has {written!r}, which may be {two} or {one}; write an element in _atom_site_type_symbol"
        )
    raise StructureError(
        f"has the unknown element {written!r}; write an element in _atom_site_type_symbol (deuterium: H)"
    )


@lru_cache(maxsize=1 << 14)
def symbols_in_label(label: str) -> frozenset[str]:
    """Give the elements that a site may be by the beginning of its label: none, one, or two as of `CA2`.

    Raises:
        StructureError: they are several.
    """
    if "/" in label or "," in label:
        _refuse_mixed(label)
    word = re.split("[^A-Za-z]", label, maxsplit=1)[0][:2]
    return frozenset({word.title(), word[:1]} if word[1:].isupper() else {word}) & ELEMENTS.keys()


def _refuse_mixed(written: str) -> None:
    """Refuse a type symbol or a label of several elements, such as 'Nb,Zr' and Fe/Mg1."""
    word = re.split("[^A-Za-z]", written, maxsplit=1)[0]
    named = re.findall("[A-Z][a-z]?", word)
    several = len(named) > 1 and word != word.upper() and all(symbol in ELEMENTS for symbol in named)
    if several or _MIXED.search(written):
        raise StructureError(f"is disordered ({written}); use an ordered structure, one whole atom a site")


@lru_cache(maxsize=4096)
def formula_of(written: str, deuterium: bool) -> Mapping[str, float] | None:
    """Give the amounts of elements in a formula such as 'C6 H6 O' or 'Na4Cl4'; None where it is none.

    D is hydrogen if `deuterium` says so, else an element of its own.
    """
    amounts: dict[str, float] = {}
    position = 0
    while position < len(written):
        match = _TERM.match(written, position)
        if match is None or (match[1] not in ELEMENTS and match[1] != "D"):
            return None
        symbol = "H" if deuterium and match[1] == "D" else match[1]
        amounts[symbol] = amounts.get(symbol, 0.0) + float(match[2] or 1)
        position = match.end()
    return {symbol: amount for symbol, amount in amounts.items() if amount} or None


def compare(
    atoms: Mapping[str, int], formula: Mapping[str, float] | None, units: float | None, measured: bool
) -> Content:
    """Hold the atoms in a cell against the formula, which may be that of the cell.

    More atoms than Z times the formula are a fault, and so are fewer where nothing was measured. Atoms that an
    experiment did not locate, hydrogen that is missing, and Z where it alone is at odds are doubts.

    Args:
        atoms: how many of each element the cell holds.
        formula: amounts of elements; None where there is none.
        units: Z, the formula units in the cell; None where it is not given.
        measured: whether the structure comes from an experiment.
    """
    if formula is None:
        return Content()
    ratios = {symbol: atoms.get(symbol, 0) / amount for symbol, amount in formula.items()}
    low, high = min(ratios.values()), max(ratios.values())
    alike = len(formula) == len(atoms) and not _above(high, low)
    ratio = high if alike else max([each for symbol, each in ratios.items() if symbol not in _HYDROGEN] or [high])
    whole = units is not None and (
        _equal(ratio, units) or (_equal(ratio, 1.0) and not any(amount % units for amount in formula.values()))
    )
    if alike and (whole or units is None):
        return Content(borne_out=whole)
    said = " ".join(f"{symbol}{amount:g}" for symbol, amount in formula.items())
    made = f"the sites and the symmetry make {' '.join(f'{symbol}{count}' for symbol, count in atoms.items())}"
    if strange := [symbol for symbol in atoms if symbol not in formula]:
        return Content(f"the sites hold {strange[0]}, which the formula {said} has not; correct one of them")
    if units and _above(ratio, units):
        return Content(f"{made}, more than Z = {units:g} of {said}; correct the symmetry, the formula or Z")
    if any(_above(each, ratio) for each in ratios.values()):
        return Content(f"{made}, with more hydrogen than the formula {said}; correct one of them")
    fewer = [symbol for symbol, each in ratios.items() if _above(ratio, each)]
    if not fewer:
        return Content(doubt=f"{made}, but Z = {units:g} of {said} are more", short=True)
    lacking = f"{made}, with less {' '.join(fewer)} than the formula {said}"
    if measured or set(fewer) <= _HYDROGEN:
        return Content(doubt=f"Missing elements: {lacking}")
    return Content(f"{lacking}; sites or operations are missing")


def _above(one: float, other: float) -> bool:
    return one > other * (1 + _ROUNDED)


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= _ROUNDED * other
