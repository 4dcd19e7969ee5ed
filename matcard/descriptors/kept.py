"""Numbers of crystals kept on disk, each found again by the content of its crystal."""

from __future__ import annotations

import hashlib
import uuid
import warnings
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from matcard.crystals.crystals import in_runs, objects
from matcard.descriptors.simple import Numbers
from matcard.errors import InputError, MatcardWarning
from matcard.files import locked, written_whole
from matcard.parallel import in_order

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jaxtyping import Float32

    from matcard.crystals.crystals import Crystals
    from matcard.descriptors.simple import Descriptor

    Known = dict[bytes, Float32[np.ndarray, " F"]]
    Progress = Callable[[int, int], None]
    """Called with the crystals done and their number."""


_FORMAT = 1
# Atoms of the crystals that are computed and then written together: some seconds of CHGNet on one core.
_PIECE_ATOMS = 4096
# With more files than this they are joined into one.
_MANY_FILES = 16


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
            with locked(own, f"computes {descriptor.name} of {len(crystals):,} crystals"):
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
    for piece, (values, reasons) in zip(pieces, computed, strict=True):
        found = {}
        for row, numbers, reason in zip(piece, values, reasons, strict=True):
            if reason is None:
                found[digests[row]] = numbers
            else:
                failed[digests[row]] = reason
        _write(folder, found)
        known.update(found)
        done += len(piece)
        if progress is not None:
            progress(done, len(crystals))
    _join(folder, known)
    return failed


def _write(folder: Path, found: Known) -> Path | None:
    if not found:
        return None
    path = folder / f"{uuid.uuid4().hex}.npz"
    digests = np.frombuffer(b"".join(found), np.uint8).reshape(len(found), -1)
    with written_whole(path) as beside, beside.open("wb") as file:
        np.savez(file, digests=digests, values=np.stack(list(found.values())))
    return path


def _read(folder: Path) -> Known:
    """Read all files; one that is damaged is removed, with a warning."""
    known: Known = {}
    for path in sorted(folder.glob("[!.]*.npz")):
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                digests, values = arrays["digests"], arrays["values"]
            known.update(zip(map(bytes, digests), values, strict=True))
        except FileNotFoundError:  # joined with others meanwhile
            return _read(folder)
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            warnings.warn(f"{path} is damaged ({error}); what it held is computed anew", MatcardWarning, stacklevel=4)
            path.unlink(missing_ok=True)
    return known


def _join(folder: Path, known: Known) -> None:
    """Write one file in place of many, once it holds what they held."""
    paths = list(folder.glob("[!.]*.npz"))
    if len(paths) <= _MANY_FILES:
        return
    joined = _write(folder, known)
    for path in paths:
        if path != joined:
            path.unlink(missing_ok=True)
