"""The folder of a study or a comparison: one command at a time is at work in it, always with the same data."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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

    from matcard.data.samples import Samples


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
    lock, note = FileLock(folder / ".lock"), folder / ".holder"
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


def require_same(samples: Samples, path: Path, what: str, advice: str) -> None:
    """Check that samples have the ids, classes and contents of a file, which is written where there is none.

    Args:
        samples: as they are now.
        path: parquet file with id, class and a digest of each structure, image or row that all began with.
        what: who began with it, for the message.
        advice: what to do instead.

    Raises:
        InputError: they differ.
    """
    used = samples.take(samples.used)
    names = np.array(used.class_names, dtype=object)
    digests = [hashlib.sha256(content).hexdigest()[:32] for content in _contents(used.inputs)]
    now = pd.DataFrame({"id": used.ids.astype(str), "class": names[used.codes], "digest": digests})
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
    }
    if said := ", ".join(f"{count} {differing}" for differing, count in counts.items() if count):
        raise InputError(f"{what} began with other data ({said}): {advice}")


def _contents(inputs: Any) -> Iterator[bytes]:
    if not isinstance(inputs, Crystals):
        for sample in np.ascontiguousarray(inputs):
            yield sample.tobytes()
        return
    for k, (start, stop) in enumerate(zip(inputs.offsets[:-1], inputs.offsets[1:], strict=True)):
        sites = inputs.numbers[start:stop].tobytes() + inputs.frac_coords[start:stop].tobytes()
        yield inputs.lattice[k].tobytes() + sites
