"""3DSC (superconductors with structures): its repository as an archive -> a folder that `read_crystals` takes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath

from matcard.crystals.code_digest import code_digest
from matcard.crystals.readers.fields import read_fields
from matcard.crystals.readers.files import readable
from matcard.crystals.readers.folder import LABELS
from matcard.data.archives import extract
from matcard.errors import InputError
from matcard.files import locked

_TABLE = "3DSC_MP.csv"
_COLUMNS = ("formula_sc", "tc", "sc_class", "weight", "cif")
_ROOT = "data/final/MP/"


def unpack(archive: Path) -> Path:
    """Unpack the crystals of 3DSC(MP) beside the archive, once for each archive, and give the folder.

    The table's `cif` names a file for each row; its name without the ending is the id. Kept are the columns
    `formula_sc`, `tc` (K), `sc_class`, `weight` and `synth_doped` (the structure was doped by the authors' algorithm).

    Raises:
        InputError: an archive without the table, or a table without these columns.
    """
    stamp = archive.stat()
    code = code_digest([Path(__file__)], ())[:16]
    folder = archive.with_name(f"unpacked-{stamp.st_size}-{stamp.st_mtime_ns}-{code}")
    if not folder.is_dir():
        with locked(folder, f"unpacks {archive.name}"):
            if not folder.is_dir():  # another process may have unpacked it meanwhile
                _unpack(archive, folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    working = Path(tempfile.mkdtemp(prefix=".3dsc-", dir=archive.parent))
    try:
        extracted = extract(
            archive, working / "archive", lambda name: _ROOT in name and name.endswith((".cif", _TABLE))
        )
        cifs = {path.name: path for path in extracted.rglob("*.cif")}
        tables = list(extracted.rglob(_TABLE))
        if len(tables) != 1:
            raise InputError(
                f"{archive} holds {len(tables)} files {_TABLE}; the repository of 3DSC, with its data, was expected"
            )
        crystals = working / "crystals"
        crystals.mkdir()
        for name in _write_labels(tables[0], crystals / LABELS):
            if name in cifs:
                cifs[name].replace(crystals / name)
        crystals.replace(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _write_labels(table: Path, path: Path) -> list[str]:
    """Write the folder's table of labels and give the file name of each row."""
    with readable(table):
        with table.open(encoding="utf-8") as file:
            comments = next((k for k, line in enumerate(file) if not line.startswith("#")), 0)
        rows = read_fields(table, skiprows=comments)
    missing = [column for column in _COLUMNS if column not in rows]
    if missing:
        raise InputError(f"{table.name} of 3DSC has no column {missing[0]!r}; another version than the card names?")
    names = [PurePosixPath(str(cif)).name for cif in rows["cif"]]
    labels = rows[[column for column in _COLUMNS if column != "cif"]]
    labels.insert(0, "id", [name.removesuffix(".cif") for name in names])
    labels.assign(synth_doped=["synth_doped" in name for name in names]).to_csv(path, index=False)
    return names
