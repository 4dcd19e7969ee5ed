"""CIF text -> its data blocks: the values of the names that make a crystal, as they are written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, cast

import gemmi

from matcard.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterable

CELL = (*(f"_cell_length_{k}" for k in "abc"), *(f"_cell_angle_{k}" for k in ("alpha", "beta", "gamma")))
COORDINATES = tuple(f"_atom_site_fract_{k}" for k in "xyz")
LABEL, TYPE, OCCUPANCY = "_atom_site_label", "_atom_site_type_symbol", "_atom_site_occupancy"
ANISOTROPIC = "_atom_site_aniso_label"
HYDROGENS = "_atom_site_attached_hydrogens"
FORMULA, UNITS = "_chemical_formula_sum", "_cell_formula_units_z"
VOLUME = "_cell_volume"
CODE = "_space_group_it_coordinate_system_code"
# Names of one meaning, in the order in which they are looked at.
MULTIPLICITY = ("_atom_site_symmetry_multiplicity", "_atom_site_site_symmetry_multiplicity")
OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
MAGNETIC, CENTERINGS = ("_space_group_symop_magn_operation_xyz",), ("_space_group_symop_magn_centering_xyz",)
SYMBOLS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_symmetry_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
)
HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")

NOT_UTF8 = "the file is not UTF-8 text; save it as UTF-8"

_SINGLE = (LABEL, ANISOTROPIC, TYPE, OCCUPANCY, HYDROGENS, FORMULA, UNITS, VOLUME, CODE)
_USED = frozenset(
    chain(_SINGLE, CELL, COORDINATES, MULTIPLICITY, OPERATIONS, MAGNETIC, CENTERINGS, SYMBOLS, HALL, NUMBER)
)
# Of names about symmetry that are not among the used ones, those that do not say what the symmetry is.
_SYMMETRY = re.compile(r"_(symmetry|space_?group|symop)")
_HARMLESS = re.compile(
    r"_id$|comment|details|description|cell_setting|crystal_system|bravais|centring_type|laue|patterson|"
    r"point_group|schoenflies|wyckoff|reference_setting|transform|mxmymz|time_?reversal|(?<!symop_)magn(?!_name|_number)"
)
_MODULATED = re.compile(
    r"_(cell_modulation_dimension|cell_wave_vector|space_group_(symop_)?(magn_)?ssg_|atom_site_(moment_)?fourier)"
)
_MEASURED = ("_refine_", "_reflns_", "_diffrn_", "_exptl_", "_pd_", "_geom_")

# What pasted text has for an ASCII minus, for a blank, and for nothing at all.
_STAND_FOR = (
    dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63\uff0d\x96\x97"), "-")
    | dict.fromkeys(
        map(ord, "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000"), " "
    )
    | dict.fromkeys(map(ord, "\ufeff\u200b\u2060"), None)
)
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LIST = re.compile(r"(?<=[\s\[{:])[\[{][^\[\]{}_;]*[\]}](?=[\s\]}])")
_AT = re.compile(r".*?:(\d+):\d+\(\d+\): (.*)", re.DOTALL)
_FRACTION = re.compile(r"([+-]?[1-9]\d{0,3})/([1-9]\d{0,3})")
_DECIMALS = re.compile(r"[+-]?\d*(\.\d*)?(?:[eE]([+-]?\d+))?(?:\(\d*\))?")
_NULL = ("?", ".", "")
_MAYBE_NULL = "?.'\";"
"""How a value begins that may stand for none."""
_SHOWN = 60
"""Characters of a line or value that a message shows."""


@dataclass(slots=True)
class Block:
    """One data block.

    Names are keyed in lower case with underscores for dots; values are as in the file, quotes included.
    """

    name: str
    values: dict[str, list[str]] = field(default_factory=dict)
    """The values of each name that is used; none where all of them stand for none."""
    spelled: dict[str, str] = field(default_factory=dict)
    """How the file spells names that it spells in another way."""
    unknown: list[str] = field(default_factory=list)
    """What it says of its symmetry under names that are not understood."""
    measured: bool = False
    """Whether it comes from an experiment, in which not all atoms need be located."""
    fault: str | None = None
    """Why it is left out: it says something twice and differently, or that the structure is modulated."""

    def first(self, *names: str) -> list[str]:
        """Give the values of the first of these names that has one; empty where none has."""
        for name in names:
            if values := self.values.get(name):
                return values
        return []

    def texts(self, *names: str) -> list[str]:
        """Give them without quotes."""
        return list(map(plain, self.first(*names)))

    def has(self, names: Iterable[str]) -> bool:
        """Say whether one of these names stands in the block, with or without a value."""
        return not self.values.keys().isdisjoint(names)

    def spell(self, name: str) -> str:
        """Give a name as the file has it."""
        return self.spelled.get(name, name)


def read_blocks(text: str) -> list[Block]:
    """Give all data blocks of CIF text.

    A byte-order mark, form feeds and CIF2's lists are passed over; characters that are not ASCII become what they
    stand for (a minus, a blank), or stay in the values.

    Raises:
        StructureError: when the text is no CIF, or is cut short.
    """
    if not text.isascii():
        text = text.translate(_STAND_FOR).encode("ascii", "xmlcharrefreplace").decode("ascii")
    try:
        document = gemmi.cif.read_string(text, check_level=0)
    except ValueError:
        if "\0" in text:
            raise StructureError(NOT_UTF8) from None
        document = _read_mended(_CONTROL.sub(" ", text))
    return [_block(block) for block in document]


def is_null(value: str) -> bool:
    """Say whether a value stands for none."""
    return value in _NULL or (value[0] in _MAYBE_NULL and not plain(value))


@lru_cache(maxsize=1 << 14)
def plain(value: str) -> str:
    """Give a value without quotes, on one line, with the characters that the file has."""
    if value in _NULL:
        return value
    text = " ".join(gemmi.cif.as_string(value).split())
    return re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), text) if "&#" in text else text


def numbers(values: list[str]) -> list[float]:
    """Give values as numbers, without their standard uncertainties; NaN where one is none."""
    found = list(map(gemmi.cif.as_number, values))
    if math.isnan(sum(found)):
        return [_fraction(value) if math.isnan(number) else number for value, number in zip(values, found, strict=True)]
    return found


@lru_cache(maxsize=1 << 14)
def last_digit(value: str) -> float:
    """Give what one in the last digit of a number is worth; 0 for whole numbers and fractions."""
    match = _DECIMALS.fullmatch(plain(value))
    if match is None or match[1] is None:
        return 0.0
    return float(10.0 ** (int(match[2] or 0) + 1 - len(match[1])))


def no_number(what: str, value: str) -> StructureError:
    """Say what is wrong with a value that is no number."""
    text = plain(value)
    strange = next((character for character in text if not character.isascii()), None)
    if strange is not None:
        return StructureError(f"{what} is {text!r}, with the character {strange!r}; write it in ASCII")
    if re.fullmatch(r"[+-]?\d*,\d+(\(\d*\))?", text):
        return StructureError(f"{what} is {text!r}, with a comma; write {text.replace(',', '.')}")
    return StructureError(f"{what} is {text[:_SHOWN]!r}, which is no number; correct it")


def _fraction(value: str) -> float:
    text = plain(value)
    match = _FRACTION.fullmatch(text)
    if match is not None:
        return float(Fraction(int(match[1]), int(match[2])))
    return float(gemmi.cif.as_number(text))


def _read_mended(text: str) -> gemmi.cif.Document:
    """Read text without the characters that no CIF may have and, where it says that it is CIF2, without lists."""
    if text.lstrip().startswith("#\\#CIF_2"):
        count = 1
        while count:
            text, count = _LIST.subn(".", text)
    try:
        return gemmi.cif.read_string(text, check_level=0)
    except ValueError as error:
        match = _AT.fullmatch(str(error))
        if match is None or "&#65533;" in text:  # bytes that did not decode
            raise StructureError(NOT_UTF8) from None
        number, said = int(match[1]), match[2]
        line = " ".join(text.splitlines()[number - 1 : number]).strip()[:_SHOWN]
    if "data_" in said:
        raise StructureError("the text is no CIF: nothing but comments may stand before its first data_ line")
    if "number of values" in said:
        said = "a loop has a row with too few or too many values"
    elif said == "parse error":
        said = "a value is missing here, or stands where a name must"
    raise StructureError(f"the CIF is cut short or damaged at line {number}, {line!r}: {said}; copy or export it again")


def _block(data: gemmi.cif.Block) -> Block:
    block = Block(" ".join(data.name.split()))
    for item in data:
        pair = cast("list[str] | None", item.pair)
        if pair is not None:
            tag, value = pair
            if (meaning := _meaning(tag))[:1] == "_":
                _keep(block, meaning, tag, [value])
            elif meaning:
                _note(block, meaning, tag, value)
        elif (loop := item.loop) is not None:
            values: list[str] = []
            tags = loop.tags
            for k, tag in enumerate(tags):
                if (meaning := _meaning(tag))[:1] == "_":
                    values = values or loop.values
                    _keep(block, meaning, tag, values[k :: len(tags)])
                elif meaning:
                    _note(block, meaning, tag, "")
    return block


@lru_cache(maxsize=1 << 12)
def _meaning(tag: str) -> str:
    """Give a name in lower case with underscores for dots if it is used, and else what else it tells, if anything."""
    name = tag.lower().replace(".", "_")
    if name in _USED:
        return name
    if name.startswith(_MEASURED):
        return "measured"
    if _MODULATED.match(name):
        return "modulated"
    return "symmetry" if _SYMMETRY.match(name) and not _HARMLESS.search(name) else ""


def _keep(block: Block, name: str, tag: str, values: list[str]) -> None:
    if tag != name:
        block.spelled.setdefault(name, tag)
    before = block.values.get(name)
    if not values or (values[0][:1] in _MAYBE_NULL and name not in COORDINATES and all(map(is_null, values))):
        values = []
    if not before:
        block.values[name] = values
    if not (before and values) or list(map(plain, before)) == list(map(plain, values)):
        return
    if len(before) > 1 or len(values) > 1:
        block.fault = block.fault or f"{tag} stands in two lists that differ; delete one"
    elif gemmi.cif.as_number(before[0]) != gemmi.cif.as_number(values[0]):
        block.fault = block.fault or f"{tag} stands twice, {plain(before[0])} and {plain(values[0])}; delete one"


def _note(block: Block, kind: str, tag: str, value: str) -> None:
    """Note what a name that is not used says of the symmetry or of where the block comes from."""
    if kind == "measured":
        block.measured = True
    elif kind == "modulated":
        if value != "0":
            block.fault = block.fault or f"the structure is modulated ({tag}); one cell does not hold it"
    elif value not in ("?", ".") and (said := plain(value)).replace(" ", "").upper() not in ("P1", "1"):
        block.unknown.append(f"{tag} = {said}" if said else tag)
