"""Files of one structure: CIF, POSCAR, pymatgen JSON, or what ASE reads."""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING

from matcard.crystals.readers.assemble import atomic_numbers
from matcard.crystals.readers.cif import from_cif
from matcard.crystals.readers.decode import from_ase, from_dict, from_structure
from matcard.crystals.readers.raw import Raw, StructureError

if TYPE_CHECKING:
    from pathlib import Path

_POSCAR_NAME = re.compile(r"(POSCAR|CONTCAR)([^A-Za-z].*)?|.*\.(vasp|poscar)", re.IGNORECASE)


def is_structure_file(path: Path) -> bool:
    """Say whether a file is by its name a CIF or a POSCAR."""
    return path.suffix.lower() == ".cif" or _POSCAR_NAME.fullmatch(path.name) is not None


def from_file(path: Path) -> Raw:
    """Decode the structure in a file, by its name; one without an ending is a CIF or a POSCAR by content."""
    text, suffix = path.read_text(encoding="utf-8", errors="replace"), path.suffix.lower()
    if _POSCAR_NAME.fullmatch(path.name):
        return from_poscar(text)
    if suffix == ".json":
        return from_dict(json.loads(text))
    if suffix == ".cif" or "_cell_length_a" in text:
        return from_cif(text)
    return _by_ase(path) if suffix else from_poscar(text)


def from_poscar(text: str) -> Raw:
    """Decode POSCAR text; one without element symbols is refused."""
    from pymatgen.io.vasp.inputs import Poscar

    for word in " ".join(text.splitlines()[5:6]).split():
        symbol = re.split("[/_]", word)[0]  # as in Si_sv/0123abcd
        if not symbol.isdigit() and symbol not in atomic_numbers():
            raise StructureError(f"unknown element {word!r}; write plain element symbols on line 6")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        poscar = Poscar.from_str(text, read_velocities=False)
    if not poscar.true_names or any("cannot be determined" in str(w.message) for w in caught):
        raise StructureError("the POSCAR names no elements; add a line of symbols above the counts")
    return from_structure(poscar.structure)


def _by_ase(path: Path) -> Raw:
    import ase.io

    frames = ase.io.read(path, index=":")
    if len(frames) != 1:
        raise StructureError(f"holds {len(frames)} frames; give the file as the source, or one structure a file")
    return from_ase(frames[0])
