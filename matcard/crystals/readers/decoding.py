"""Decodes the structures of batches, in other processes where that is worth it."""

from __future__ import annotations

from collections import deque
from itertools import chain, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matcard.crystals.parallel import in_order
from matcard.crystals.readers.raw import Raw, StructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from matcard.crystals.readers.batch import Batch

Decoded = Raw | str
"""A structure, or the reason why a row has none."""

_STUMBLES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError)
"""Where a parser raises one of these it did not foresee the input: the text says what it did, not what is wrong."""

# Structures that a process takes at once: below a second of CIF parsing.
_TASK = 25


def decode_batches(
    batches: Iterator[Batch], jobs: int | None, advance: Callable[[int], None]
) -> Iterator[tuple[Batch, list[Decoded]]]:
    """Decode all structures, batch by batch; whatever a decoder raises becomes the row's reason.

    Args:
        batches: what a reader gives.
        jobs: processes to decode in, as in joblib (-1: all cores).
        advance: called with the number of rows after each few that are decoded.
    """
    first = next(batches, None)
    if first is None:
        return
    taken: deque[Batch] = deque()
    tasks = _tasks(chain([first], batches), taken)
    decoded: list[Decoded] = []
    for part in _carried_out(tasks, jobs) if _is_slow(first) else starmap(decode_some, tasks):
        decoded += part
        advance(len(part))
        while len(decoded) >= len(taken[0].payloads):
            batch = taken.popleft()
            yield batch, decoded[: len(batch.payloads)]
            decoded = decoded[len(batch.payloads) :]
            if not taken:
                break
    for batch in taken:  # without rows
        yield batch, []


def decode_some(payloads: Sequence[Any], decode: Callable[[Any], Raw]) -> list[Decoded]:
    """Decode what stands for some structures; a `StructureError` stands for one that is not there."""
    return [_decode_one(payload, decode) for payload in payloads]


def _tasks(batches: Iterable[Batch], taken: deque[Batch]) -> Iterator[tuple[Sequence[Any], Callable[[Any], Raw]]]:
    for batch in batches:
        taken.append(batch)
        for k in range(0, len(batch.payloads), _TASK):
            yield batch.payloads[k : k + _TASK], batch.decode


def _is_slow(batch: Batch) -> bool:
    """Say whether there is text or files to parse; arrays and objects are decoded sooner than they are sent."""
    return any(isinstance(payload, (str, Path)) for payload in batch.payloads)


def _carried_out(
    tasks: Iterable[tuple[Sequence[Any], Callable[[Any], Raw]]], jobs: int | None
) -> Iterator[list[Decoded]]:
    from joblib import delayed

    yield from in_order((delayed(decode_some)(*task) for task in tasks), jobs)


def _decode_one(payload: Any, decode: Callable[[Any], Raw]) -> Decoded:
    if isinstance(payload, StructureError):
        return str(payload)
    try:
        raw = decode(payload)
    except StructureError as fault:
        return str(fault)
    except Exception as error:  # parsers of other projects raise anything on malformed input
        return _reason(error)
    if raw.lattice.shape not in ((6,), (3, 3)) or raw.frac_coords.shape != (len(raw.symbols), 3):
        return f"the lattice is {raw.lattice.shape}, {len(raw.symbols)} sites are {raw.frac_coords.shape}; mend the row"
    return raw


def _reason(error: Exception) -> str:
    said = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split())[:300])))
    lost = ""
    if not str(error).strip() or isinstance(error, _STUMBLES):
        lost = ": something that belongs to it is missing or out of place, as where a file is cut short"
    return f"malformed structure ({said}){lost}; mend it or delete the row"
