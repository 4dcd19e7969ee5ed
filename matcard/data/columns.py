"""What columns of a table say: which name its rows and which describe them, the numbers in them, chemical formulas."""

from __future__ import annotations

import re
import unicodedata
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase.data import atomic_numbers, chemical_symbols

from matcard.crystals.crystals import ELEMENTS, is_none
from matcard.descriptors.simple import magpie_features
from matcard.errors import InputError, MatcardWarning, listed
from matcard.table_files import require_column

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from jaxtyping import Float64, Shaped

_SMALLEST = -1e-9
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+")
_FEWEST_COUNTED = 10
"""In fewer rows a feature may be 1, 2, 3... by chance."""


def number_columns(
    frame: pd.DataFrame, named: Sequence[str] | None, aside: Collection[str | None], source: str
) -> Sequence[str]:
    """Give the columns that describe rows by numbers: those named, or all that hold mostly numbers.

    Args:
        frame: rows.
        named: columns, or None.
        aside: columns that say something else: ids, target, groups.
        source: how the table is called in messages.

    Raises:
        InputError: a named column that is not there, or no column of numbers.
    """
    if named is not None:
        for name in named:
            require_column(name, map(str, frame), source, "features")
        return named
    # Where most of a column's cells are numbers, the others are malformed.
    others = [name for name in map(str, frame) if name not in aside]
    found = [name for name in others if pd.to_numeric(frame[name].dropna(), errors="coerce").notna().mean() > 0.5]
    counting = [name for name in found if _counts_rows(frame[name])]
    if counting:
        # Rows are often sorted by class, which their numbers then give away.
        warnings.warn(
            f"{source}: {listed(map(repr, counting))} counts the rows and is not used to predict; name it with "
            "--data.features if it means something",
            MatcardWarning,
            stacklevel=4,
        )
        found = [name for name in found if name not in counting]
    if not found:
        names = listed(name for name in map(str, frame) if not name.startswith("__"))
        raise InputError(
            f"{source} has no column of numbers beside id and target among {names}; if it holds crystals, name the "
            "column of structures with --data.structure_column, if formulas, with --data.composition_column"
        )
    return found


def _counts_rows(values: pd.Series[Any]) -> bool:
    """Say whether a column is 0, 1, 2... or 1, 2, 3..., begun again at most once, as with a second file of rows."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    if len(numbers) < _FEWEST_COUNTED or numbers[0] not in (0, 1):
        return False
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    return len(breaks) == 0 or (len(breaks) == 1 and bool(numbers[breaks[0]] == numbers[0]))


def numbers_of(
    frame: pd.DataFrame, names: Sequence[str]
) -> tuple[Float64[np.ndarray, "N F"], Shaped[np.ndarray, " N"]]:
    """Give the numbers in columns, and what is wrong with a row, or None."""
    inputs = np.empty((len(frame), len(names)))
    faults = np.full(len(frame), None, dtype=object)
    for k, name in enumerate(names):
        inputs[:, k] = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        for i in np.flatnonzero(~np.isfinite(inputs[:, k]) & is_none(faults)).tolist():
            cell = frame[name].iloc[i : i + 1].tolist()[0]  # a number of Python, which messages show as it is written
            faults[i] = f"{name} is missing" if pd.isna(cell) else f"{name} is {cell!r}: a finite number was expected"
    return inputs, faults


def proportions(
    amounts: Float64[np.ndarray, "N F"], faults: Shaped[np.ndarray, " N"]
) -> tuple[Float64[np.ndarray, "N F"], Shaped[np.ndarray, " N"]]:
    """Divide the amounts of components by their sum, so that per cents, fractions and counts are alike.

    Rows with a negative amount, or with none of anything, are at fault too.
    """
    total = amounts.sum(axis=1)
    faults = faults.copy()
    faults[is_none(faults) & (amounts < _SMALLEST).any(axis=1)] = "a component has a negative amount"
    faults[is_none(faults) & ~(total > 0)] = "it has nothing of any component"
    return np.maximum(amounts, 0) / np.where(total > 0, total, 1.0)[:, None], faults


def compounds(names: Iterable[Any]) -> list[str]:
    """Give the names that are formulas of two elements and more, which components go by: Y and No may be anything."""
    found = []
    for name in map(str, names):
        symbols = set(_ELEMENT.findall(name))
        if _FORMULA.fullmatch(name) and len(symbols) > 1 and symbols <= ELEMENTS.keys():
            found.append(name)
    return found


LAST_ELEMENT = 118
"""One column an element, so that every source gives the same columns."""

_AMOUNT = r"\d+(?:\.\d+)?"
_TOKEN = re.compile(rf"(?P<element>[A-Z][a-z]?)|(?P<open>[(\[{{])|(?P<close>[)\]}}])|(?P<amount>{_AMOUNT})")
_PART = re.compile(rf"(?P<times>{_AMOUNT})?(?P<rest>\D.*)")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_DOTS = re.compile("[\u00b7\u2022\u2219\u22c5\u30fb*]")
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))
_WATER = re.compile(rf"(?P<salt>.+?)\.(?P<times>{_AMOUNT})?(?P<water>(?:H2O|D2O|\(H2O\)|\(D2O\)))")
_ELEMENTS = {**{symbol: symbol for symbol in chemical_symbols[1:]}, "D": "H", "T": "H"}


def describe_formulas(
    formulas: pd.Series[Any], how: str
) -> tuple[Float64[np.ndarray, "N F"], list[str], Shaped[np.ndarray, " N"]]:
    """Give numbers for each formula, the names of the columns, and what is wrong with a row, or None.

    Args:
        formulas: text as `read_formula` takes it.
        how: `fractions` of the 118 elements, or matminer's `magpie` features.
    """
    fractions, names, faults = element_fractions(formulas)
    if how == "fractions":
        return fractions, names, faults
    sound = np.flatnonzero(is_none(faults))
    table = magpie_features([written(read_formula(str(formula))) for formula in formulas.iloc[sound]])
    numbers = np.zeros((len(formulas), table.shape[1]))
    numbers[sound] = np.asarray(table, dtype=np.float64)
    faults[sound[~np.isfinite(numbers[sound]).all(axis=1)]] = "an element of it has no Magpie features"
    return np.nan_to_num(numbers), [str(name) for name in table.columns], faults


def element_fractions(
    formulas: pd.Series[Any],
) -> tuple[Float64[np.ndarray, "N 118"], list[str], Shaped[np.ndarray, " N"]]:
    """Give the atomic fraction of each element, the elements' symbols, and what is wrong with a row, or None."""
    fractions = np.zeros((len(formulas), LAST_ELEMENT))
    faults = np.full(len(formulas), None, dtype=object)
    for i, (formula, missing) in enumerate(zip(formulas, formulas.isna(), strict=True)):
        if missing or not str(formula).strip():
            faults[i] = "the formula is missing"
            continue
        try:
            content = read_formula(str(formula))
        except ValueError as error:
            faults[i] = f"{formula!r} is no chemical formula ({error})"
            continue
        total = sum(content.values())
        for symbol, amount in content.items():
            fractions[i, atomic_numbers[symbol] - 1] = amount / total
    return fractions, chemical_symbols[1 : LAST_ELEMENT + 1], faults


def read_formula(text: str) -> dict[str, float]:
    """Give the amount of each element of a formula.

    A formula is elements and groups in brackets, each with an amount above 0 or none: Fe2O3, Zr0.5Cu0.5, Ca(OH)2. Parts
    of it may be joined by a middle dot or an asterisk, each with a number before it: CuSO4*5H2O. A full stop joins
    water: in CuSO4.5H2O stand five, not 4.5 oxygens. A minus joins oxides: Na2O-2SiO2 is Na2Si2O5. Blanks do not
    count, small digits are digits, deuterium and tritium are hydrogen.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    plain = "".join(unicodedata.normalize("NFKC", _DOTS.sub("*", text)).translate(_DASHES).split())
    joined = _WATER.fullmatch(plain)
    if joined is not None and not plain[0].isdigit():
        try:
            return _mixed([("", joined["salt"]), (joined["times"] or "", joined["water"])])
        except ValueError:
            pass  # as in Sr0.5H2O, where the full stop is that of a number
    if "*" in plain:
        return _mixed([_divided(part) for part in plain.split("*")])
    if "-" in plain:
        parts = [_divided(part) for part in plain.split("-")]
        mixed = _mixed(parts)
        if not all("O" in (content := _simple(rest)) and len(content) > 1 for _, rest in parts):
            raise ValueError(f"a minus joins oxides alone; write the formula as one, such as {written(mixed)}")
        return mixed
    if plain[:1].isdigit():
        raise ValueError("it begins with a number; write it without")
    return _simple(plain)


def written(content: dict[str, float]) -> str:
    """Write amounts as a formula."""
    return "".join(symbol + ("" if amount == 1 else f"{amount:.10g}") for symbol, amount in content.items())


def _divided(part: str) -> tuple[str, str]:
    """Part the number of a part from the rest."""
    found = _PART.fullmatch(part)
    if found is None:
        raise ValueError("a part of it is missing beside a dot or minus; complete it")
    return found["times"] or "", found["rest"]


def _mixed(parts: list[tuple[str, str]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for times, rest in parts:
        for symbol, amount in _simple(rest).items():
            total[symbol] = total.get(symbol, 0.0) + _above_zero(times or "1") * amount
    return total


def _simple(text: str) -> dict[str, float]:
    """Read elements and groups with their amounts."""
    groups: list[tuple[str, dict[str, float]]] = [("", {})]
    last: dict[str, float] | None = None
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(f"{text[place:]!r} is neither an element nor an amount; write a formula such as Fe2O3")
        place = token.end()
        if token["amount"] is None and last is not None:
            _add(groups[-1][1], last, 1.0)
            last = None
        if token["element"] is not None:
            if token["element"] not in _ELEMENTS:
                raise ValueError(f"there is no element {token['element']}; write symbols of elements alone")
            last = {_ELEMENTS[token["element"]]: 1.0}
        elif token["open"] is not None:
            groups.append((_BRACKETS[token["open"]], {}))
        elif token["close"] is not None:
            closing, last = groups.pop()
            if closing != token["close"] or not last:
                raise ValueError("its brackets do not fit; correct them")
        elif last is None:
            raise ValueError(f"the amount {token['amount']} follows no element; correct it")
        else:
            _add(groups[-1][1], last, _above_zero(token["amount"]))
            last = None
    if last is not None:
        _add(groups[-1][1], last, 1.0)
    if len(groups) > 1 or not groups[0][1]:
        raise ValueError("its brackets do not fit; correct them" if len(groups) > 1 else "it has no element")
    return groups[0][1]


def _above_zero(text: str) -> float:
    amount = float(text)
    if not 0 < amount < float("inf"):
        raise ValueError(f"the amount {text} is none above 0; leave the element out or correct it")
    return amount


def _add(content: dict[str, float], some: dict[str, float], times: float) -> None:
    for symbol, amount in some.items():
        content[symbol] = content.get(symbol, 0.0) + times * amount
