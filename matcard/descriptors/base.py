"""What a descriptor is, and its numbers kept on disk, each found again by the content of its crystal."""

from __future__ import annotations

import hashlib
import uuid
import warnings
import zipfile
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from matcard.crystals.crystals import in_runs, is_none, objects
from matcard.errors import InputError, MatcardWarning
from matcard.files import locked, written_whole
from matcard.parallel import in_order

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jaxtyping import Float32, Float64, Shaped

    from matcard.crystals.crystals import Crystals

    Known = dict[bytes, Float32[np.ndarray, " F"]]
    Progress = Callable[[int, int], None]
    """Called with the crystals done and their number."""


_FORMAT = 1
# Atoms of the crystals that are computed and then written together: some seconds of CHGNet on one core.
_PIECE_ATOMS = 4096


class Part(NamedTuple):
    """Where some of a crystal's numbers come from."""

    name: str
    version: str
    width: int


class Numbers(NamedTuple):
    """F numbers for each of N crystals."""

    values: Float32[np.ndarray, "N F"]
    """NaN in the rows that have a reason."""
    reasons: Shaped[np.ndarray, " N"]
    """Object array: why a crystal has no numbers, or None."""
    parts: tuple[Part, ...] = ()
    """Where they come from, in their order, where those of several descriptors stand side by side."""


class Descriptor(Protocol):
    """Makes fixed numbers of crystals."""

    @property
    def name(self) -> str:
        """What it is called in `--data.descriptors`."""

    @property
    def version(self) -> str:
        """What decides the numbers beside the crystal: packages, weights, settings."""

    @property
    def kept(self) -> bool:
        """Whether the numbers take long enough to be kept on disk."""

    def compute(self, crystals: Crystals) -> Numbers:
        """Compute the numbers of N crystals without faults, in their order; of none the width must be right, too."""


def only_finite(
    values: Float64[np.ndarray, "N F"], why: str, reasons: Shaped[np.ndarray, " N"] | None = None
) -> Numbers:
    """Give the numbers with a reason for each row that has none yet and is not finite in single precision."""
    with np.errstate(over="ignore"):
        numbers = np.array(values, dtype=np.float32)
    reasons = np.full(len(numbers), None, dtype=object) if reasons is None else reasons
    reasons[is_none(reasons) & ~np.isfinite(numbers).all(axis=1)] = why
    numbers[~is_none(reasons)] = np.nan
    return Numbers(numbers, reasons)


def kept_numbers(
    descriptor: Descriptor,
    crystals: Crystals,
    folder: Path,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Numbers:
    """Give the numbers of N crystals; compute and keep those that are not in the cache `folder`.

    What is kept is found by the lattice, the elements and the coordinates of a crystal and by the descriptor's version,
    whatever else it stands among. Of several processes one computes, the others wait; what a killed one had written is
    gone on with. A damaged file is computed anew, with a warning. Crystals without numbers are tried each time.

    Args:
        descriptor: what computes the numbers; it is pickled where there are several processes.
        crystals: N of them, without faults.
        folder: of the cache.
        jobs: processes as in joblib: -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says.
        progress: called with the crystals done and their number at the start and after each piece, if any is missing.

    Raises:
        InputError: the cache cannot be used.
    """
    own = folder / hashlib.sha256(f"{_FORMAT} {descriptor.name} {descriptor.version}".encode()).hexdigest()[:32]
    digests = crystals.digests()
    failed: dict[bytes, str] = {}
    try:
        own.mkdir(parents=True, exist_ok=True)
        known = _read(own)
        if not known.keys() >= set(digests):
            with locked(own, f"computes {descriptor.name}"):
                known = _read(own)
                failed = _compute(descriptor, crystals, digests, known, own, jobs, progress)
    except OSError as error:
        raise InputError(
            f"the cache folder {folder} cannot be used ({error}); make room in it, or choose another by setting "
            "MATCARD_CACHE"
        ) from error
    width = len(next(iter(known.values()))) if known else descriptor.compute(crystals.take([])).values.shape[1]
    none = np.full(width, np.nan, np.float32)
    values = np.array([known.get(key, none) for key in digests], np.float32).reshape(len(digests), width)
    return Numbers(values, objects(failed.get(key) for key in digests))


def _compute(
    descriptor: Descriptor,
    crystals: Crystals,
    digests: list[bytes],
    known: Known,
    folder: Path,
    jobs: int | None,
    progress: Progress | None,
) -> dict[bytes, str]:
    """Add what is missing to what is known, piece by piece, and give the reasons of crystals without numbers."""
    first = {key: row for row, key in reversed(list(enumerate(digests))) if key not in known}
    rows = np.array(sorted(first.values()), dtype=np.int64)
    failed: dict[bytes, str] = {}
    done = len(crystals) - len(rows)
    if progress is not None:
        progress(done, len(crystals))
    pieces = [rows[run] for run in in_runs(crystals.num_sites[rows], _PIECE_ATOMS)]
    computed = in_order(
        descriptor.compute, ((crystals.take(piece),) for piece in pieces), jobs if len(pieces) > 1 else 1
    )
    for piece, (values, reasons, _) in zip(pieces, computed, strict=True):
        found = {}
        for row, numbers, reason in zip(piece, values, reasons, strict=True):
            if reason is None:
                found[digests[row]] = numbers
            else:
                failed[digests[row]] = reason
        if found:
            with written_whole(folder / f"{uuid.uuid4().hex}.npz") as beside, beside.open("wb") as file:
                keys = np.frombuffer(b"".join(found), np.uint8).reshape(len(found), -1)
                np.savez(file, digests=keys, values=np.stack(list(found.values())))
            known.update(found)
        done += len(piece)
        if progress is not None:
            progress(done, len(crystals))
    return failed


def _read(folder: Path) -> Known:
    """Read all files; one that is damaged is removed, with a warning."""
    known: Known = {}
    for path in sorted(folder.glob("[!.]*.npz")):
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                digests, values = arrays["digests"], arrays["values"]
            known.update(zip(map(bytes, digests), values, strict=True))
        except FileNotFoundError:  # damaged, and removed by another process meanwhile
            continue
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            warnings.warn(f"{path} is damaged ({error}); what it held is computed anew", MatcardWarning, stacklevel=4)
            path.unlink(missing_ok=True)
    return known
