"""What the samples of a data set are, so that a study or a comparison goes on only with the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.crystals.crystals import Crystals
from matcard.errors import InputError
from matcard.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matcard.data.samples import Samples


def content_of(samples: Samples) -> pd.DataFrame:
    """Give id, class and a digest of the structure, image or row of each sample that is used."""
    used = samples.take(samples.used)
    names = np.array(used.class_names, dtype=object)
    digests = [hashlib.sha256(content).hexdigest()[:32] for content in _contents(used.inputs)]
    return pd.DataFrame({"id": used.ids.astype(str), "class": names[used.codes], "digest": digests})


def _contents(inputs: Any) -> Iterator[bytes]:
    if not isinstance(inputs, Crystals):
        for sample in np.ascontiguousarray(inputs):
            yield sample.tobytes()
        return
    for k, (start, stop) in enumerate(zip(inputs.offsets[:-1], inputs.offsets[1:], strict=True)):
        sites = inputs.numbers[start:stop].tobytes() + inputs.frac_coords[start:stop].tobytes()
        yield inputs.lattice[k].tobytes() + sites


def require_same(now: pd.DataFrame, path: Path, what: str, advice: str) -> None:
    """Check that a content is that of a file, which is written where there is none.

    Args:
        now: content of the data as they are.
        path: parquet file of the content that all began with.
        what: who began with it, for the message.
        advice: what to do instead.

    Raises:
        InputError: it differs.
    """
    if not path.is_file():
        with written_whole(path) as beside:
            now.to_parquet(beside, index=False)
        return
    before = pd.read_parquet(path)
    both = [table.assign(again=table.groupby("id").cumcount()).set_index(["id", "again"]) for table in (before, now)]
    common = both[0].index.intersection(both[1].index)
    old, new = (table.loc[common] for table in both)
    gone, come = len(before) - len(common), len(now) - len(common)
    counts = {
        f"of {len(before)} samples are gone": gone,
        "samples are new": come,
        f"of {len(before)} labels differ": int((old["class"] != new["class"]).sum()),
        f"of {len(before)} structures or rows differ": int((old["digest"] != new["digest"]).sum()),
    }
    if said := ", ".join(f"{count} {differing}" for differing, count in counts.items() if count):
        raise InputError(f"{what} began with other data ({said}): {advice}")
