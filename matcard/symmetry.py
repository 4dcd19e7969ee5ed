"""Space groups: from operations as they are written, or from a symbol."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import spglib

from matcard.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Float64, Int64

DEN = gemmi.Op.DEN
"""Translations are whole multiples of 1 / DEN of a cell vector."""
# How much an operation may change a cell, as a part of lengths squared: .5 % between two lengths, .3 degrees.
_METRIC = 0.01
EXACT = 1e-9
"""What differs by less, in angstrom or in units of a cell vector, is the same but for the arithmetic."""
_WRITTEN = re.compile(r"[-+*/\d.,xyzXYZ\s]+")
_SETTING = re.compile(r"(.+?)(?:\s*:\s*(-?\w[-\w]*)|\s*([Hh][Rr]|[HRhrSZ]))")
_MOST = 1024
"""Operations that a list may have at most."""


@dataclass(frozen=True, eq=False)
class Group:
    """The operations of a space group on a cell, in units of its vectors, one for each lattice translation."""

    rotations: Int64[np.ndarray, "M 3 3"]
    translations: Int64[np.ndarray, "M 3"]
    """In units of 1 / `DEN`, from 0 to `DEN` - 1."""
    texts: tuple[str, ...]
    """How they are written."""

    def __len__(self) -> int:
        return len(self.rotations)

    @cached_property
    def codes(self) -> frozenset[int]:
        """A number for each operation."""
        return frozenset(_codes(self.rotations, self.translations).tolist())

    @cached_property
    def setting(self) -> gemmi.SpaceGroup | None:
        """Its entry in the table of settings; None for a choice of axes or origin that is not tabulated."""
        return gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(text) for text in self.texts]))

    @cached_property
    def number(self) -> int | None:
        """Its number in the International Tables; None where it cannot be told."""
        if self.setting is not None:
            return int(self.setting.number)
        with warnings.catch_warnings():  # until version 3, spglib warns that failures will be exceptions, not None
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                kind = spglib.get_spacegroup_type_from_symmetry(self.rotations.astype(np.intc), self.translations / DEN)
            except spglib.SpglibError:
                return None
        return None if kind is None else int(kind.number)

    @property
    def name(self) -> str:
        """Its symbol with the setting, or its number."""
        return str(self.setting.xhm()) if self.setting is not None else f"space group {self.number}"

    @cached_property
    def metric_changes(self) -> Float64[np.ndarray, "9 9M"]:
        """What a metric tensor G, flat, is multiplied by to have R'GR - G for each rotation R."""
        turned = np.einsum("mki,mlj->klmij", self.rotations, self.rotations).reshape(9, len(self), 9)
        changes: Float64[np.ndarray, "9 M 9"] = turned - np.eye(9)[:, None]
        return changes.reshape(9, -1)

    @cached_property
    def turned(self) -> Float64[np.ndarray, "3 3M"]:
        """What coordinates are multiplied by to have x of all copies, then y, then z."""
        return self.rotations.transpose(2, 1, 0).reshape(3, -1).astype(np.float64)

    @cached_property
    def shifts(self) -> Float64[np.ndarray, " 3M"]:
        """Its translations in the same order."""
        return self.translations.T.reshape(-1) / DEN

    def numbered(self, codes: Int64[np.ndarray, "M s"]) -> Int64[np.ndarray, "M s"]:
        """Give the places of operations that are named by their codes."""
        own = _codes(self.rotations, self.translations)
        order = own.argsort()
        return order[np.searchsorted(own, codes, sorter=order)]

    def that_breaks(self, lattice: Float64[np.ndarray, "3 3"]) -> str | None:
        """Give the operation that keeps the lengths and angles of a cell least; None where all keep them."""
        if len(self) == 1:
            return None
        metric = lattice @ lattice.T
        changes, squares = np.abs(metric.ravel() @ self.metric_changes), metric.diagonal()
        if changes.max() <= _METRIC * squares.min():  # as of most cells
            return None
        changes = changes.reshape(-1, 9) / np.sqrt(np.outer(squares, squares)).ravel()
        return self.texts[changes.argmax() // 9] if changes.max() > _METRIC else None

    def copies(self, frac_coords: Float64[np.ndarray, "k 3"]) -> Float64[np.ndarray, "k 3 M"]:
        """Give the copies of each site by each operation."""
        images: Float64[np.ndarray, "k 3M"] = frac_coords @ self.turned + self.shifts
        return images.reshape(-1, 3, len(self))


@lru_cache(maxsize=512)
def group_of(texts: tuple[str, ...]) -> Group:
    """Give the group of operations as they are written, such as 'x, y, z' and '-y, x-y, z+1/3'.

    Raises:
        StructureError: when one of them is no operation, or they are no group.
    """
    if len(texts) > _MOST:
        raise StructureError(f"{len(texts)} operations are listed; a space group has at most 192")
    operations = {op.triplet(): op for op in map(operation, texts)}
    group = _group(operations.values())
    missing = _missing(group)
    if missing is not None:
        raise StructureError(
            f"the {len(group)} operations listed are no group: {missing} follows from them and is not listed; "
            "write all of them, or the symbol alone"
        )
    return group


@lru_cache(maxsize=1024)
def groups_of_hall(symbol: str) -> tuple[Group, ...]:
    """Give the group of a Hall symbol; none where it is not understood."""
    try:
        return (_group(gemmi.symops_from_hall(symbol)),)
    except (ValueError, RuntimeError):
        return ()


@lru_cache(maxsize=1024)
def settings_of(symbol: str) -> tuple[Group, ...]:
    """Give the groups that a Hermann-Mauguin symbol may mean: two where it leaves out the origin or the axes.

    Short and full symbols and those of ICSD are understood, with the setting as in `F d -3 m :2`, `F d -3 m Z` (the
    origin at -1, S the other), `R 3 m H` or `R 3 m R`. None where the symbol is not known.
    """
    base, choice = _split(symbol)
    found: gemmi.SpaceGroup | None = gemmi.find_spacegroup_by_name(base)
    found = _full_symbols().get(_squeezed(base)) if found is None else found
    if found is None:
        return ()
    if choice not in ("", "1", "2", "H", "R"):
        return settings_of_number(found.number, choice)
    settings = [setting for setting in gemmi.spacegroup_table() if setting.hm == found.hm]
    return tuple(_group(setting.operations()) for setting in settings if choice in ("", setting.ext))


@lru_cache(maxsize=1024)
def settings_of_number(number: int, code: str = "") -> tuple[Group, ...]:
    """Give the groups that a number of the International Tables may mean, with a code such as b1, cab, 2 or R."""
    if code:
        halls = [k.hall_symbol for k in _hall_table() if k.number == number and k.choice.lower() == code.lower()]
        return tuple(_group(gemmi.symops_from_hall(hall)) for hall in halls)
    found = gemmi.find_spacegroup_by_number(number) if 1 <= number <= 230 else None
    return () if found is None else settings_of(found.hm)


@lru_cache(maxsize=4096)
def distinct(group: Group, keeping: bytes) -> tuple[list[int], Int64[np.ndarray, " n"]]:
    """Give how many places each site has, and which of its copies, site after site, stand for them.

    Args:
        group: M operations.
        keeping: for each site and operation, whether it keeps the site: an array of bool, as bytes. A site that they
            say is kept by operations that are no group has no place.
    """
    rows = np.frombuffer(keeping, dtype=bool).reshape(-1, len(group))
    places = [_cosets(group, np.flatnonzero(row)) for row in rows]
    return list(map(len, places)), np.concatenate([place + i * len(group) for i, place in enumerate(places)])


def _cosets(group: Group, keeping: Int64[np.ndarray, " s"]) -> Int64[np.ndarray, " n"]:
    """Give the first operation of each left coset of a subgroup; none if it is no group."""
    products = group.numbered(_products(group, keeping))
    first = np.flatnonzero(products.min(axis=1) == np.arange(len(group)))
    is_group = np.isin(products[keeping], keeping).all() and len(first) * len(keeping) == len(group)
    return first if is_group else first[:0]


@lru_cache(maxsize=8192)
def operation(text: str) -> gemmi.Op:
    """Read one operation; what a magnetic one says of time is left aside."""
    if text.count(",") == 3:
        text = re.sub(r",\s*[+-]?\s*1\s*$", "", text)
    if (strange := next((c for c in text if not c.isascii()), None)) is not None:
        raise StructureError(f"the operation {text!r} has the character {strange!r}; write it in ASCII, as in 1/2+x")
    hint = "; put quotes around x, y, z" if text.endswith(",") else ""
    try:
        parsed = gemmi.Op(text if _WRITTEN.fullmatch(text) else "")
    except (ValueError, RuntimeError):
        raise StructureError(f"the operation {text!r} is none: it has no three parts of x, y, z{hint}") from None
    if abs(parsed.det_rot()) != DEN**3 or any(part % DEN for row in parsed.rot for part in row):
        raise StructureError(f"the operation {text!r} is none: it does not keep the volume; correct it")
    return parsed.wrap()


def _group(operations: Iterable[gemmi.Op]) -> Group:
    listed = list(operations)
    rotations = np.array([op.rot for op in listed], dtype=np.int64).reshape(-1, 3, 3) // DEN
    translations = np.array([op.tran for op in listed], dtype=np.int64).reshape(-1, 3) % DEN
    return Group(rotations, translations, tuple(op.wrap().triplet() for op in listed))


def _missing(group: Group) -> str | None:
    """Give an operation that is a product of two of the group's and is not among them."""
    if "x,y,z" not in group.texts:
        return "x,y,z"
    if group.setting is not None and set(group.texts) == {op.wrap().triplet() for op in group.setting.operations()}:
        return None
    known = np.fromiter(group.codes, dtype=np.int64)
    new = ~np.isin(_products(group, np.arange(len(group))), known)
    if not new.any():
        return None
    a, b = np.argwhere(new)[0]
    return str((gemmi.Op(group.texts[a]) * gemmi.Op(group.texts[b])).wrap().triplet())


def _products(group: Group, others: Int64[np.ndarray, " s"]) -> Int64[np.ndarray, "M s"]:
    """Give the number of each product of an operation of a group with one of some of them."""
    rotations, translations = group.rotations[others], group.translations[others]
    turned = np.einsum("aij,bjk->abik", group.rotations, rotations)
    moved = np.einsum("aij,bj->abi", group.rotations, translations) + group.translations[:, None]
    return _codes(turned, moved)


def _codes(rotations: Int64[np.ndarray, "... 3 3"], translations: Int64[np.ndarray, "... 3"]) -> Int64[np.ndarray, ...]:
    """Number operations: equal ones, but for lattice translations, have one number."""
    digits = np.concatenate([rotations.reshape(*rotations.shape[:-2], 9) + 10, translations % DEN], axis=-1)
    return digits @ DEN ** np.arange(12, dtype=np.int64)


def _split(symbol: str) -> tuple[str, str]:
    """Give a symbol without underscores and parentheses, and its setting: 1, 2, H, R or nothing."""
    symbol = re.sub(r"\(?\s*origin (at -1|choice 2|2)\s*\)?", ":2", symbol, flags=re.IGNORECASE)
    symbol = re.sub(r"\(?\s*origin (choice 1|1)\s*\)?", ":1", symbol, flags=re.IGNORECASE)
    symbol = " ".join(re.sub(r"[_()]", "", symbol).split())
    match = _SETTING.fullmatch(symbol)
    if match is None:
        return symbol.rstrip(": "), "H" if symbol[:1] in "Hh" else ""
    choice = match[2] or match[3]
    return match[1], {"S": "1", "Z": "2", "HR": "H", "H": "H", "R": "R"}.get(choice.upper(), choice)


def _squeezed(symbol: str) -> str:
    return symbol.replace(" ", "").replace("_", "").lower()


@cache
def _hall_table() -> list[Any]:
    """Give spglib's entries of all settings: symbols, numbers and codes of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return [spglib.get_spacegroup_type(hall) for hall in range(1, 531)]


@cache
def _full_symbols() -> dict[str, gemmi.SpaceGroup]:
    """Full symbols, such as F 4/m -3 2/m, without blanks -> a setting."""
    table: dict[str, gemmi.SpaceGroup] = {}
    for kind in _hall_table():
        setting = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(kind.hall_symbol))
        for symbol in (kind.international_full, *kind.international.split("=")):
            table.setdefault(_squeezed(symbol), setting)
    return table
