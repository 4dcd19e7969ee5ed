"""From the text of `--data.descriptors` to numbers: which there are, what they are made by, and all side by side."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from matcard.descriptors.base import Numbers, Part, kept_numbers
from matcard.descriptors.simple import (
    ColumnNumbers,
    FileNumbers,
    InstalledNumbers,
    MagpieNumbers,
    StructureNumbers,
    VolumeNumbers,
)
from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from jaxtyping import Float32, Int

    from matcard.crystals.crystals import Crystals
    from matcard.descriptors.base import Descriptor, Progress

COLUMNS, FILE = "columns:", "file:"
"""How the names of columns of the source, and of a table of the user's, begin."""
GROUP = "matcard.descriptors"
"""Entry points in which packages bring descriptors of their own."""
_SEPARATES = 0.99
_INSTALL = "install it in matcard's folder by: pip install -e '.[chgnet]'"


def find_descriptors(text: str) -> tuple[Descriptor, ...]:
    """Give the descriptors that a text names: `none`, or names with commas between them.

    `columns:` takes all that follows it, so that it comes last.

    Raises:
        InputError: a name that is unknown or comes twice, or a package that is not installed.
    """
    names, _, columns = text.partition(COLUMNS)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted == ["none"] and not columns:
        return ()
    found = [find_descriptor(name) for name in wanted]
    if columns:
        found.append(find_descriptor(COLUMNS + columns))
    if not found or len({each.name for each in found}) < len(found):
        raise InputError(
            f"--data.descriptors {text!r}: expected none, or different names out of {', '.join(BUILT_IN)}, with "
            "commas between them"
        )
    return tuple(found)


def describe(
    descriptors: tuple[Descriptor, ...],
    crystals: Crystals,
    folder: Path,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Numbers:
    """Compute the numbers of N crystals, of several descriptors side by side, or find them in the cache.

    Args:
        descriptors: at least one, as `find_descriptors` gives them.
        crystals: N rows of a source; those at fault get no numbers.
        folder: of the cache.
        jobs: processes as in joblib: -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says.
        progress: called with the crystals done and their number, for each descriptor that takes time.

    Raises:
        InputError: as the descriptors do; a cache that cannot be used.
    """
    sound, reasons = np.flatnonzero(crystals.sound), crystals.faults.copy()
    some = crystals if len(sound) == len(crystals) else crystals.take(sound)
    values, parts = [], []
    for descriptor in descriptors:
        if descriptor.kept:
            numbers = kept_numbers(descriptor, some, folder, jobs=jobs, progress=progress)
        else:
            numbers = descriptor.compute(some)
        of_all = np.full((len(crystals), numbers.values.shape[1]), np.nan, np.float32)
        of_all[sound] = numbers.values
        values.append(of_all)
        parts.append(Part(descriptor.name, descriptor.version, of_all.shape[1]))
        for row, reason in zip(sound, numbers.reasons, strict=True):
            if reason is not None and reasons[row] is None:
                reasons[row] = f"no numbers of --data.descriptors {descriptor.name}: {reason}"
    return Numbers(np.concatenate(values, axis=1), reasons, tuple(parts))


def check_columns(descriptors: tuple[Descriptor, ...], telling: Collection[str | None]) -> None:
    """Refuse the column of the target, and the one that it comes from, as sources of what predicts it.

    Raises:
        InputError: one of `telling` is among `columns:`.
    """
    for each in descriptors:
        for name in each.columns if isinstance(each, ColumnNumbers) else ():
            if name in telling:
                raise InputError(
                    f"--data.descriptors {each.name}: {name!r} is the column that is to be predicted, or that it comes "
                    "from; leave it out"
                )


def check_without_source(text: str) -> None:
    """Refuse descriptors that are looked up where there is no source with ids and columns.

    Raises:
        InputError: `text` names columns or a file.
    """
    for each in find_descriptors(text):
        if isinstance(each, ColumnNumbers | FileNumbers):
            raise InputError(
                f"descriptors {each.name}: objects of Python have neither columns nor ids to look numbers up by; train "
                "on a source by python -m matcard.train, or bring what computes the numbers as a package, by the entry "
                f"point {GROUP}"
            )


def separating_columns(
    parts: tuple[Part, ...], values: Float32[np.ndarray, "n F"], codes: Int[np.ndarray, " n"]
) -> list[str]:
    """Name the columns of the source or of a file that alone tell a class from all others, with a ROC-AUC above .99.

    Args:
        parts: where the F numbers come from.
        values: of the training part, without NaN.
        codes: the class of each sample.
    """
    found, start = [], 0
    for part in parts:
        own = values.T[start : start + part.width] if part.name.startswith((COLUMNS, FILE)) else ()
        if telling := [k for k, column in enumerate(own) if _separates(column, codes)]:
            made = find_descriptor(part.name)
            assert isinstance(made, ColumnNumbers | FileNumbers)
            found += [made.columns[k] for k in telling]
        start += part.width
    return found


def _separates(column: Float32[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> bool:
    ranks = pd.Series(column).rank().to_numpy()
    for label in np.unique(codes):
        own = codes == label
        n, others = int(own.sum()), int((~own).sum())
        area = (ranks[own].sum() - n * (n + 1) / 2) / max(n * others, 1)
        if others and max(area, 1 - area) > _SEPARATES:
            return True
    return False


def find_descriptor(name: str) -> Descriptor:
    """Give the descriptor of a name.

    Raises:
        InputError: a name that is unknown, or a package that is not installed.
    """
    _, _, value = name.partition(":")
    if name.startswith(COLUMNS):
        return ColumnNumbers(tuple(column.strip() for column in value.split(",") if column.strip()))
    if name.startswith(FILE) and value:
        # In full, since a model is used from other folders, too.
        return FileNumbers(Path(value).expanduser().resolve())
    if name in _MADE:
        return _MADE[name]()
    installed = entry_points(group=GROUP)
    if name in installed.names:
        return InstalledNumbers(installed[name])
    raise InputError(
        f"there is no descriptor {name!r}; {nearest_names(name, [*BUILT_IN, *installed.names])}; other packages bring "
        f"theirs by the entry point {GROUP}"
    )


def _chgnet(name: str) -> Descriptor:
    if find_spec("chgnet") is None:
        old = "" if sys.version_info < (3, 13) else "with Python 3.11 or 3.12, as it has no wheel for 3.13 and later, "
        raise InputError(f"--data.descriptors {name} needs the package chgnet; {old}{_INSTALL}")
    try:
        # The package takes seconds to import, and is an extra.
        made: Descriptor = import_module("matcard.descriptors.chgnet").CHGNetNumbers(name)
        _ = made.version
    except Exception as error:  # a broken package raises anything
        raise InputError(
            f"--data.descriptors {name}: the package chgnet is installed and cannot be used ({type(error).__name__}: "
            f"{error}); remove it by pip uninstall chgnet, and {_INSTALL}"
        ) from error
    return made


_MADE: dict[str, Callable[[], Descriptor]] = {
    "chgnet": partial(_chgnet, "chgnet"),
    "chgnet_random": partial(_chgnet, "chgnet_random"),
    "magpie": MagpieNumbers,
    "volume": VolumeNumbers,
    "density": partial(StructureNumbers, "density"),
    "symmetry": partial(StructureNumbers, "symmetry"),
    "sites": partial(StructureNumbers, "sites"),
}
BUILT_IN = (*_MADE, "columns:a,b,c", "file:features.parquet")
"""What there is without another package."""
