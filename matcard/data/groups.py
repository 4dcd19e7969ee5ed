"""What a sample must not be parted from when data are split, and how groups are dealt out so that parts are alike."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from matcard.crystals.crystals import ELEMENTS, Crystals, chemical_systems, contents, reduced_formulas
from matcard.errors import InputError, MatcardWarning, nearest_names

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Int64, Shaped

    from matcard.data.samples import Samples

    Keys = Shaped[np.ndarray, " N"]
    Contents = list[tuple[int, int]]


SYMPREC = 0.1
"""Angstrom: wide enough for the residual forces of relaxed structures."""


def symmetries(crystals: Crystals) -> list[Any | None]:
    """Give spglib's symmetry dataset of each crystal within `SYMPREC`, None where it finds none."""
    found: list[Any | None] = []
    with warnings.catch_warnings():
        # Until its version 3, spglib warns at each call that failures will be exceptions and no longer None.
        warnings.simplefilter("ignore", DeprecationWarning)
        for i in range(len(crystals)):
            sites = slice(int(crystals.offsets[i]), int(crystals.offsets[i + 1]))
            atoms = crystals.frac_coords[sites].tolist(), crystals.numbers[sites].tolist()
            try:
                found.append(spglib.get_symmetry_dataset((crystals.lattice[i].tolist(), *atoms), SYMPREC))
            except spglib.SpglibError:
                found.append(None)
    return found


_ROUNDING = 1e-6  # of a whole: above what single precision loses (6e-8), below a digit that tables write (1e-5, .001 %)


def group_keys(samples: Samples, kind: str) -> Keys:
    """Give each of N samples the name of its group.

    Args:
        samples: N crystals, images or rows.
        kind: `formula`, `chemical_system`, `prototype` (of crystals), `duplicates` (of images and rows),
            `chemical_system` (of compositions, too), `column:NAME` or `random`, as in `SplitOptions`.

    Returns:
        (N,) object array of str; whole numbers where images or rows are compared.

    Raises:
        InputError: an unknown kind or column, with the nearest names.
    """
    if kind == "random":
        return np.array([f"#{i}" for i in range(len(samples))], dtype=object)
    if kind.startswith("column:"):
        return _column(samples, kind.removeprefix("column:"))
    if isinstance(samples.inputs, Crystals):
        of_crystals = {"formula": reduced_formulas, "chemical_system": chemical_systems, "prototype": prototypes}
        if kind in of_crystals:
            return of_crystals[kind](samples.inputs)
        kinds = [*of_crystals, "column:NAME", "random"]
    else:
        if kind == "duplicates":
            return duplicates(samples)
        if kind == "chemical_system" and samples.kind.shares:
            return same_numbers(samples.inputs > 0)
        kinds = ["duplicates", *(["chemical_system"] if samples.kind.shares else []), "column:NAME", "random"]
    raise InputError(f"there are no groups of kind {kind!r}; {nearest_names(kind, kinds)}")


def default_groups(samples: Samples) -> str:
    """Give the kind of groups that are never divided unless another is asked for."""
    return "formula" if isinstance(samples.inputs, Crystals) else "duplicates"


def duplicates(samples: Samples) -> Int64[np.ndarray, " N"]:
    """Give images or rows of the same numbers the same number, and compositions that differ by no more than rounding.

    Floats are compared as the network sees them, in single precision. Shares of a whole were divided by a sum of
    rounded shares, so one composition, written twice, may come out different in its seventh digit.
    """
    rows = same_numbers(samples.inputs)
    if not samples.kind.shares:
        return rows
    _, firsts = np.unique(rows, return_index=True)
    return np.take(within_rounding(samples.inputs[firsts]), rows)


def same_numbers(inputs: Shaped[np.ndarray, "N ..."]) -> Int64[np.ndarray, " N"]:
    """Give samples of the same numbers the same number, counted from 0; floats in single precision."""
    rows = inputs.reshape(len(inputs), -1)
    rows = np.ascontiguousarray(rows.astype(np.float32) + 0.0 if rows.dtype.kind == "f" else rows)  # -0 is 0
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, which = np.unique(whole, return_inverse=True)
    return np.asarray(which, dtype=np.int64)


def within_rounding(shares: Float[np.ndarray, "N D"]) -> Int64[np.ndarray, " N"]:
    """Give compositions the same number where no share differs by more than a millionth, through others if need be."""
    pairs = cKDTree(shares).query_pairs(_ROUNDING, p=np.inf, output_type="ndarray")
    joined = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(shares), len(shares)))
    return np.asarray(connected_components(joined, directed=False)[1], dtype=np.int64)


def contains_element(crystals: Crystals, symbol: str) -> Bool[np.ndarray, " N"]:
    """Say which crystals contain an element.

    Raises:
        InputError: no symbol of an element.
    """
    if symbol not in ELEMENTS:
        raise InputError(f"--data.split.element {symbol!r} is no symbol of an element, such as Fe")
    wanted = ELEMENTS[symbol]
    return np.array([any(number == wanted for number, _ in content) for content in contents(crystals)], dtype=bool)


def prototypes(crystals: Crystals) -> Keys:
    """Give the structure prototypes: space group and, element by element, the occupied Wyckoff positions.

    A position is written by its site symmetry, not its letter: letters of one site symmetry change places
    with the choice of origin and axes, and isostructural crystals must get one key. Crystals in which spglib
    finds no symmetry are told by a `MatcardWarning` and are groups of their own.
    """
    of_sites = np.split(crystals.numbers, crystals.offsets[1:-1])
    keys = [found and _prototype(found, numbers) for found, numbers in zip(symmetries(crystals), of_sites, strict=True)]
    failed = [str(name) for name, key in zip(crystals.ids, keys, strict=True) if key is None]
    if failed:
        warnings.warn(
            f"spglib finds no symmetry in {len(failed)} crystals, each of which is a group of its own "
            f"in a split by prototype: {', '.join(failed[:10])}{', ...' if len(failed) > 10 else ''}",
            MatcardWarning,
            stacklevel=3,
        )
    return np.array([key or f"unknown {name}" for name, key in zip(crystals.ids, keys, strict=True)], dtype=object)


def _prototype(found: Any, numbers: Int[np.ndarray, " n"]) -> str:
    """Give the key of a crystal from its symmetry and the elements of its sites."""
    positions: dict[int, list[str]] = {}
    for site in np.unique(found.crystallographic_orbits).tolist():
        # Dots and order only say along which axes the symmetry elements lie.
        symbol = "".join(sorted(found.site_symmetry_symbols[site].replace(".", "")))
        positions.setdefault(int(numbers[site]), []).append(symbol)
    elements = sorted(",".join(sorted(symbols)) for symbols in positions.values())
    return f"{found.number} {' '.join(f'({symbols})' for symbols in elements)}"


def _column(samples: Samples, name: str) -> Keys:
    columns = [str(column) for column in samples.columns.columns]
    if name not in columns:
        raise InputError(f"--data.split.column {name!r}: the source has no such column; {nearest_names(name, columns)}")
    values = samples.columns.iloc[:, columns.index(name)]
    missing = values.isna().to_numpy()
    if missing.any():
        warnings.warn(
            f"--data.split.column {name}: {missing.sum()} samples have no value there and are groups of their own",
            MatcardWarning,
            stacklevel=3,
        )
    keys = values.astype(str).to_numpy(dtype=object)
    keys[missing] = [f"missing {i}" for i in samples.ids[missing]]
    return keys


_ROUNDS = 3  # the first deals, the others put right what later groups have made worse


def deal(
    codes: Int[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    shares: Float[np.ndarray, " parts"],
    rng: np.random.Generator,
) -> Int64[np.ndarray, " N"]:
    """Give each sample a part, the same for all samples of a group.

    The groups of the rarest class come first, the large ones among them first, equals in random order. Each
    goes where it raises least the chi-square distance between the parts' class counts and the wanted ones.
    Then each is taken up in turn and dealt again.

    Args:
        codes: (N,) class of each sample.
        groups: (N,) group of each sample; any values that can be compared.
        shares: what each part shall have of every class; they sum to 1.
        rng: breaks ties.

    Raises:
        InputError: fewer groups than parts.
    """
    _, member = np.unique(groups, return_inverse=True)
    contents, totals = _contents(codes, member)
    if len(contents) < len(shares):
        raise InputError(
            f"{len(contents)} groups cannot be divided into {len(shares)} parts; choose finer groups "
            "(--data.split.kind), or fewer folds"
        )
    table = _Table(contents, totals, shares, rng.permutation(len(shares)).tolist())
    rarest = np.array([content[0][0] for content in contents])
    order = np.lexsort((rng.random(len(contents)), -np.bincount(member), rarest)).tolist()
    part = [table.put(contents[g]) for g in order]
    for _ in range(1, _ROUNDS):
        for i, g in enumerate(order):
            table.take(contents[g], part[i])
            part[i] = table.put(contents[g])
    return np.array(part)[np.argsort(order)][member]


class _Table:
    """What lies where, while groups are dealt."""

    def __init__(
        self,
        contents: list[Contents],
        totals: list[int],
        shares: Float[np.ndarray, " parts"],
        preference: list[int],
    ) -> None:
        self.totals = totals
        self.wanted = np.multiply.outer(shares, totals).tolist()
        self.have = [[0] * len(totals) for _ in shares]
        self.preference = preference
        # Groups of each class that are not dealt yet, and the parts without the class.
        self.waiting = np.bincount([c for content in contents for c, _ in content]).tolist()
        self.lacking = [set(range(len(shares))) for _ in totals]

    def put(self, content: Contents) -> int:
        """Put a group where it is best, and say where.

        Of a class's n samples, g put where there are a of a wanted w raise the distance by
        (g/n) ((2a + g)/w - 2); the last term is the same for all parts. Parts that lack a class take
        precedence once no more groups of that class are left than such parts.
        """
        candidates = set(self.preference)
        for c, _ in content:
            if self.waiting[c] <= len(self.lacking[c]):
                candidates = candidates & self.lacking[c] or candidates
        costs = [
            (sum(n / self.totals[c] * (2 * self.have[k][c] + n) / self.wanted[k][c] for c, n in content), k)
            for k in self.preference
            if k in candidates
        ]
        best = min(costs, key=lambda cost: cost[0])[1]
        for c, n in content:
            self.have[best][c] += n
            self.waiting[c] -= 1
            self.lacking[c].discard(best)
        return best

    def take(self, content: Contents, part: int) -> None:
        """Take a group up again."""
        for c, n in content:
            self.have[part][c] -= n
            self.waiting[c] += 1
            if not self.have[part][c]:
                self.lacking[c].add(part)


def _contents(codes: Int[np.ndarray, " N"], member: Int[np.ndarray, " N"]) -> tuple[list[Contents], list[int]]:
    """List (class, samples) of each group, and the samples of each class.

    Classes are numbered from the one of the fewest groups on; the last is one that every sample is in, so
    that the sizes of the parts are balanced as the classes are, and no part stays empty.
    """
    _, codes = np.unique(codes, return_inverse=True)
    classes = len(np.unique(codes))
    of_groups = np.bincount(np.unique(member * classes + codes) % classes)
    place = np.argsort(np.lexsort((np.bincount(codes), of_groups)))
    codes = np.concatenate([place[codes], np.full(len(codes), classes)])
    pairs, samples = np.unique(np.tile(member, 2) * (classes + 1) + codes, return_counts=True)
    contents: list[Contents] = [[] for _ in np.unique(member)]
    for pair, count in zip(pairs.tolist(), samples.tolist(), strict=True):
        contents[pair // (classes + 1)].append((pair % (classes + 1), count))
    return contents, np.bincount(codes).tolist()
