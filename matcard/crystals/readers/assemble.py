"""From the structures of many rows to flat arrays, with a reason for each that could not be decoded."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from matcard.crystals.readers.raw import Raw, StructureError
from matcard.crystals.table import Crystals, offsets_from_counts
from matcard.crystals.validate import first_bad_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Float64, Shaped

# Structures that a process takes at once: a second or two of CIF parsing.
_TASK = 100
_NOTHING = Raw(np.zeros((3, 3)), (), np.zeros((0, 3)))


class Assembled(NamedTuple):
    """Crystals of all rows (empty where undecodable), the reason for each such row, the parsers' notes."""

    crystals: Crystals
    reasons: Shaped[np.ndarray, " N"]
    notes: list[tuple[str, ...]]


def assemble(
    ids: Shaped[np.ndarray, " N"], payloads: Sequence[Any], decode: Callable[[Any], Raw], jobs: int = 1
) -> Assembled:
    """Decode one payload a row and lay the structures out flat.

    Args:
        ids: ids of the N rows.
        payloads: what stands for the structure of each row, or a `StructureError` where there is none.
        decode: gives its `Raw` or raises; whatever it raises becomes the row's reason.
        jobs: processes to decode in, as in joblib (-1: all cores).
    """
    reasons = np.full(len(payloads), None, dtype=object)
    raws: list[Raw] = []
    for i, result in enumerate(_decode(payloads, decode, jobs)):
        if isinstance(result, str):
            reasons[i] = result
        raws.append(_NOTHING if isinstance(result, str) else result)
    offsets = offsets_from_counts(np.array([len(raw.symbols) for raw in raws], dtype=np.int64))
    symbols = [symbol for raw in raws for symbol in raw.symbols]
    known = atomic_numbers()
    numbers = np.array([known.get(symbol, 0) for symbol in symbols], dtype=np.uint8)
    crystals = Crystals(
        ids=ids,
        lattice=_lattices(raws),
        offsets=offsets,
        numbers=numbers,
        frac_coords=np.concatenate([_NOTHING.frac_coords, *(raw.frac_coords for raw in raws)]),
    )
    for i, k in first_bad_sites(offsets, numbers == 0):
        symbol = raws[i].symbols[k]
        reasons[i] = f"site {k + 1} has the unknown element {symbol!r}; write its symbol (deuterium: H)"
    return Assembled(crystals, reasons, [raw.notes for raw in raws])


def lattice_from_parameters(parameters: Float64[np.ndarray, "N 6"]) -> Float64[np.ndarray, "N 3 3"]:
    """Give cells from a b c (angstrom) and alpha beta gamma (degrees), oriented as pymatgen does.

    c lies along z and a in the xz plane. Angles that close no cell give a flat one.
    """
    a, b, c = parameters[:, :3].T
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha, beta, gamma = np.radians(parameters[:, 3:]).T
        cosine = (np.cos(alpha) * np.cos(beta) - np.cos(gamma)) / (np.sin(alpha) * np.sin(beta))
        gamma_star = np.arccos(np.clip(cosine, -1, 1))
        zero = np.zeros_like(a)
        rows = [
            [a * np.sin(beta), zero, a * np.cos(beta)],
            [
                -b * np.sin(alpha) * np.cos(gamma_star),
                b * np.sin(alpha) * np.sin(gamma_star),
                b * np.cos(alpha),
            ],
            [zero, zero, c],
        ]
    return np.moveaxis(np.array(rows), 2, 0)


@cache
def atomic_numbers() -> dict[str, int]:
    """Element symbol -> atomic number; no isotopes (D, T) and no dummy (X)."""
    from ase.data import chemical_symbols

    return {symbol: z for z, symbol in enumerate(chemical_symbols) if z > 0}


def _decode(payloads: Sequence[Any], decode: Callable[[Any], Raw], jobs: int) -> list[Raw | str]:
    tasks = [payloads[k : k + _TASK] for k in range(0, len(payloads), _TASK)]
    # Arrays and objects are decoded sooner than they are sent to another process; text and files are not.
    if jobs == 1 or len(tasks) < 2 or not any(isinstance(payload, (str, Path)) for payload in payloads):
        return _decode_some(payloads, decode)
    from joblib import Parallel, delayed

    parts = Parallel(n_jobs=jobs)(delayed(_decode_some)(task, decode) for task in tasks)
    return [result for part in parts for result in part]


def _decode_some(payloads: Sequence[Any], decode: Callable[[Any], Raw]) -> list[Raw | str]:
    return [_decode_one(payload, decode) for payload in payloads]


def _decode_one(payload: Any, decode: Callable[[Any], Raw]) -> Raw | str:
    if isinstance(payload, StructureError):
        return str(payload)
    try:
        raw = decode(payload)
    except StructureError as fault:
        return str(fault)
    except Exception as error:  # parsers of other projects raise anything on malformed input
        said = " ".join(str(error).split())[:300]
        return f"malformed structure ({type(error).__name__}: {said}); mend it or delete the row"
    if raw.lattice.shape not in ((6,), (3, 3)) or raw.frac_coords.shape != (len(raw.symbols), 3):
        return f"the lattice is {raw.lattice.shape}, {len(raw.symbols)} sites are {raw.frac_coords.shape}; mend the row"
    return raw


def _lattices(raws: Sequence[Raw]) -> Float64[np.ndarray, "N 3 3"]:
    lattice = np.zeros((len(raws), 3, 3))
    by_parameters = np.array([raw.lattice.shape == (6,) for raw in raws], dtype=bool)
    if by_parameters.any():
        parameters = np.stack([raw.lattice for raw in raws if raw.lattice.shape == (6,)])
        lattice[by_parameters] = lattice_from_parameters(parameters)
    if not by_parameters.all():
        lattice[~by_parameters] = np.stack([raw.lattice for raw in raws if raw.lattice.shape != (6,)])
    return lattice
