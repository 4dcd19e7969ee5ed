"""The folder of a study or a comparison: one command at a time is at work in it, always with the same data."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from matcard.crystals.crystals import Crystals
from matcard.errors import InputError
from matcard.files import written_whole
from matcard.training.rundir import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jaxtyping import Float64, Shaped

    from matcard.data.dataset import TrainingSet
    from matcard.data.samples import Samples

HOLDER = ".holder"
"""File that says who holds a folder's lock."""


@contextmanager
def held(folder: Path, option: str) -> Iterator[None]:
    """Hold the lock of a folder, made where it is missing, for the length of the block.

    The system takes the lock back from the dead.

    Raises:
        InputError: another process holds it, and which; or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {folder} cannot be made ({error.strerror}): name another") from error
    lock, note = FileLock(folder / ".lock"), folder / HOLDER
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = note.read_text(encoding="utf-8") if note.is_file() else "another process"
        raise InputError(
            f"{option} {folder} is at work already: {holder}. Wait for it or end it; more workers join by --jobs or "
            "--scheduler"
        ) from None
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_text(note, f"process {os.getpid()} on {socket.gethostname()}, since {since}")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def require_same(data: TrainingSet, path: Path, what: str, advice: str) -> None:
    """Check that samples are those of a file, which is written where there is none.

    Args:
        data: the samples as they are now, those without a class that are trained on among them.
        path: parquet file with id, class, a digest of each structure, image or row, and the numbers beside the class
            that all began with.
        what: who began with it, for the message.
        advice: what to do instead.

    Raises:
        InputError: they differ.
    """
    names = np.array([*data.class_names, ""], dtype=object)  # none: code -1
    parts = [_table(data.samples, names, data.values.numbers if data.values else None)]
    if data.unlabelled is not None:
        parts.append(_table(data.unlabelled.samples, names, data.unlabelled.numbers))
    now = pd.concat(parts, ignore_index=True)
    if not path.is_file():
        with written_whole(path) as beside:
            now.to_parquet(beside, index=False)
        return
    before = pd.read_parquet(path)
    both = [table.assign(again=table.groupby("id").cumcount()).set_index(["id", "again"]) for table in (before, now)]
    common = both[0].index.intersection(both[1].index)
    old, new = (table.loc[common] for table in both)
    counts = {
        f"of {len(before)} samples are gone": len(before) - len(common),
        "samples are new": len(now) - len(common),
        f"of {len(before)} labels differ": int((old["class"] != new["class"]).sum()),
        f"of {len(before)} structures or rows differ": int((old["digest"] != new["digest"]).sum()),
        f"of {len(before)} numbers differ": int((old["numbers"] != new["numbers"]).sum()),
    }
    if said := ", ".join(f"{count} {differing}" for differing, count in counts.items() if count):
        raise InputError(f"{what} began with other data ({said}): {advice}")


def _table(
    samples: Samples, names: Shaped[np.ndarray, " C"], numbers: Float64[np.ndarray, "N V"] | None
) -> pd.DataFrame:
    inputs = samples.inputs
    if isinstance(inputs, Crystals):
        digests = inputs.digests()
    else:
        digests = [hashlib.sha256(row).digest() for row in np.ascontiguousarray(inputs)]
    table = pd.DataFrame({"id": samples.ids.astype(str), "class": names[samples.codes]})
    table["digest"] = [digest.hex()[:32] for digest in digests]
    return table.assign(numbers="" if numbers is None else list(map(str, numbers.tolist())))
