"""The data set `perovskite_phases`: generated once, then read from the cache."""

from __future__ import annotations

import functools
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from matcard.cache import PYMATGEN, cache_dir, code_digest
from matcard.crystals.crystals import Crystals
from matcard.data.perovskites.ions import enumerate_compositions
from matcard.data.perovskites.phases import PHASES
from matcard.data.perovskites.sampling import sample
from matcard.errors import MatcardWarning
from matcard.files import written_whole

if TYPE_CHECKING:
    Arrays = dict[str, np.ndarray]

_COLUMNS = ("formula", "phase", "tolerance_factor", "octahedral_factor", "spacegroup")


def perovskite_phases(seed: int = 0) -> Crystals:
    """Give synthetic ABX3 crystals in five phases, one of them rare: the data set that matcard brings along.

    Charge-neutral compositions over common ions, Shannon radii, phases by Goldschmidt's tolerance factor and
    the octahedral factor with overlap, tilts and polar shifts that grow as the tolerance factor leaves 1,
    thermal displacements and strain. The same seed gives the same crystals to the last digit; every seed
    gives the same number of each phase.

    Args:
        seed: another seed gives other crystals.

    Returns:
        4,400 crystals with the columns `formula`, `phase` (the class), `tolerance_factor`,
        `octahedral_factor` and `spacegroup` (a number; that of the undisturbed phase, so it is the class by
        another name).
    """
    path = cache_dir() / "generated" / f"perovskite_phases-{seed}-{_version()}.npz"
    arrays = _read(path)
    if arrays is None:
        arrays = generate(seed)
        with written_whole(path) as beside:
            np.savez(beside, allow_pickle=False, **arrays)
    columns = pd.DataFrame({name: arrays[name] for name in _COLUMNS})
    columns[["formula", "phase"]] = columns[["formula", "phase"]].astype(object)
    return Crystals(
        arrays["ids"].astype(object),
        arrays["lattice"],
        arrays["offsets"],
        arrays["numbers"],
        arrays["frac_coords"],
        columns=columns,
    )


def generate(seed: int) -> Arrays:
    """Make the arrays of the data set: those of `Crystals` and one for each column."""
    compositions = enumerate_compositions()
    crystals, which, phase = sample(compositions, np.random.Generator(np.random.PCG64(seed)))
    return {
        "ids": crystals.ids.astype(str),
        "lattice": crystals.lattice,
        "offsets": crystals.offsets,
        "numbers": crystals.numbers,
        "frac_coords": crystals.frac_coords,
        "formula": np.array(compositions.formulas)[which],
        "phase": np.array([phase.name for phase in PHASES])[phase],
        "tolerance_factor": compositions.tolerance_factor[which].round(6),
        "octahedral_factor": compositions.octahedral_factor[which].round(6),
        "spacegroup": np.array([phase.number for phase in PHASES])[phase],
    }


def _read(path: Path) -> Arrays | None:
    """Read what an earlier call kept; the zip format's checksums tell damage."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return dict(kept)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged ({error}); it is made again", MatcardWarning, stacklevel=3)
        return None


@functools.cache
def _version() -> str:
    """Changes with this code and with the pymatgen that gives radii and space groups."""
    return code_digest(Path(__file__).parent.glob("*.py"), PYMATGEN)[:16]
