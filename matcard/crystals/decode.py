"""Whatever stands for one structure, in a cell of a table, a file or memory -> `Crystal`."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from matcard.crystals.cif import read_cif
from matcard.crystals.crystals import ELEMENTS, Crystal, cell_from_parameters
from matcard.errors import StructureError
from matcard.files import file_kind, plain_name, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jaxtyping import Float64

_STUMBLES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError)
"""Where a parser raises one of these it did not foresee the input: the text says what it did, not what is wrong."""
_MISSING = "the structure is missing here; fill it in or delete the row"
_SHOWN = 40
"""Characters of a text that a message shows."""
_LIKE_CIF = re.compile(r"^\s*data_|_cell_length_a\b", re.IGNORECASE | re.MULTILINE)
_LIKE_XYZ = re.compile(r"\s*\d+[ \t]*\r?\n.*\bLattice\s*=", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
_LIKE_POSCAR = re.compile(rf"[^\n]*\n\s*{_NUMBER.pattern}[^\n]*\n(?:\s*{_NUMBER.pattern}){{9}}\s")
_DICTS = (("lattice", "sites"), ("lattice_mat", "elements"), ("numbers", "cell"), ("__ase_objtype__",), ("atoms",))
"""Keys of the dicts that are structures: pymatgen's, JARVIS's, ASE's two, an entry of JARVIS."""


def decode_some(values: Sequence[Any], deuterium: bool = False) -> list[list[Crystal]]:
    """Decode what stands for some structures; whatever a decoder raises becomes the reason why there is none."""
    found = []
    for value in values:
        try:
            found.append(decode(value, deuterium))
        except StructureError as fault:
            found.append([Crystal(fault=str(fault))])
        except Exception as error:  # parsers of other projects raise anything on malformed input
            found.append([Crystal(fault=_reason(error))])
    return found


def labels_of(atoms: Atoms) -> dict[str, Any]:
    """Give what a frame says of itself: `info`, and results such as the energy that ASE keeps apart."""
    return {**(atoms.calc.results if atoms.calc is not None else {}), **atoms.info}


def decode(value: Any, deuterium: bool = False) -> list[Crystal]:
    """Decode what stands for one structure, or a CIF of several.

    Args:
        value: the path of a file; text of CIF, POSCAR, extended XYZ or JSON; a dict of pymatgen, JARVIS or ASE; an
            object of pymatgen or ASE; or a tuple of a lattice, elements and fractional coordinates.
        deuterium: whether D in a CIF is read as hydrogen.

    Raises:
        StructureError: it is none, or one that cannot be used; those of a CIF have their faults.
        Exception: whatever parsers of other projects raise on malformed input.
    """
    if isinstance(value, Crystal):
        return [value]
    if isinstance(value, StructureError):
        raise value
    if isinstance(value, Path):
        return from_file(value, deuterium)
    if isinstance(value, tuple):
        return [from_columns(*value)]
    if (decoder := object_decoder(value)) is not None:
        return [decoder(value)]
    if isinstance(value, str):
        return from_text(value, deuterium)
    if value is None or isinstance(value, float):
        raise StructureError(_MISSING)
    if not isinstance(value, dict):
        raise StructureError(f"the structure is a {type(value).__name__}; CIF text or a pymatgen dict was expected")
    return [from_dict(value)]


def object_decoder(value: Any) -> Callable[[Any], Crystal] | None:
    """Tell the two kinds of objects by what they can do; None for anything else."""
    if hasattr(value, "get_scaled_positions"):
        return from_ase
    return from_structure if hasattr(value, "lattice") and hasattr(value, "frac_coords") else None


def looks_like_structure(value: Any) -> bool:
    """Say whether a cell of a table holds a structure by its look."""
    if isinstance(value, dict):
        return any(all(key in value for key in keys) for keys in _DICTS)
    if not isinstance(value, str):
        return object_decoder(value) is not None
    if value.lstrip().startswith("{"):
        return any(all(f'"{key}"' in value for key in keys) for keys in _DICTS)
    return any(look.search(value) for look in (_LIKE_CIF, _LIKE_XYZ)) or _LIKE_POSCAR.match(value) is not None


def from_file(path: Path, deuterium: bool = False) -> list[Crystal]:
    """Decode the structure in a file, by its name; one without an ending is a CIF or a POSCAR by content.

    Raises:
        StructureError: no such file, or one that is no text; see `decode`.
    """
    kind = file_kind(path)
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise StructureError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise StructureError(f"the file is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None
    if kind == "poscar":
        return [from_poscar(text)]
    if kind == "json":
        return from_text(text, deuterium)
    if kind == "cif" or _LIKE_CIF.search(text):
        return read_cif(text, deuterium)
    return [_by_ase(path) if Path(plain_name(path)).suffix else from_poscar(text)]


def from_text(text: str, deuterium: bool = False) -> list[Crystal]:
    """Decode text of any kind, told by its look."""
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith(("{", "[")):
        value = _unquoted(start)
        if not isinstance(value, dict):
            raise StructureError(
                f"the structure is a {type(value).__name__}; a dict of pymatgen or JARVIS was expected"
            )
        return [from_dict(value)]
    if not start:
        raise StructureError(_MISSING)
    if not _LIKE_CIF.search(text):
        if _LIKE_XYZ.match(text):
            return [from_ase(xyz_frame(text))]
        if _LIKE_POSCAR.match(text):
            return [from_poscar(text)]
        if "_atom_site" not in text and "\n" not in start.strip():
            raise StructureError(f"{start[:_SHOWN]!r} is no structure; CIF, POSCAR, JSON or extended XYZ was expected")
    return read_cif(text, deuterium)


def from_columns(lattice: Any, species: Any, coords: Any) -> Crystal:
    """Decode lattice (3 x 3, or a b c alpha beta gamma), element symbols and fractional coordinates.

    Each may be nested or flat, a list, an array, or a list written as JSON.
    """
    lattice, species, coords = (_unquoted(value) for value in (lattice, species, coords))
    if not isinstance(species, (list, tuple, np.ndarray)) or not all(isinstance(symbol, str) for symbol in species):
        raise StructureError("species must be a list of element symbols")
    return _crystal(_floats(lattice, "the lattice"), list(species), _floats(coords, "frac_coords"))


def from_dict(value: Mapping[str, Any]) -> Crystal:
    """Decode `Structure.as_dict()` of pymatgen, JARVIS's atoms or ASE's; lists may be arrays, as parquet gives them."""
    if "lattice_mat" in value:
        return _from_jarvis(value)
    if "__ase_objtype__" in value:
        from ase.io import jsonio

        return from_ase(jsonio.decode(json.dumps(value)))  # type: ignore[no-untyped-call]
    if "numbers" in value and "cell" in value:
        return _from_ase_dict(value)
    inner = next((value[key] for key in ("structure", "atoms") if isinstance(value.get(key), dict)), None)
    if inner is not None and "sites" not in value:
        return from_dict(inner)
    lattice, sites = value.get("lattice"), value.get("sites")
    if not lattice or sites is None:
        kind = value.get("@class")
        said = f"the dict is a {kind}" if kind else "the dict"
        raise StructureError(f"{said} has no lattice or sites; pymatgen's Structure.as_dict() was expected")
    pbc = lattice.get("pbc")
    _refuse_partly_periodic((True, True, True) if pbc is None else pbc)
    cell = lattice.get("matrix")
    if cell is None:
        cell = [lattice[key] for key in ("a", "b", "c", "alpha", "beta", "gamma")]
    symbols = []
    for k, site in enumerate(sites):
        species = site["species"]
        if len(species) != 1 or species[0]["occu"] != 1:
            raise _disordered(k, {item["element"]: item["occu"] for item in species})
        symbols.append(str(species[0]["element"]))
    return _crystal(_floats(cell, "the lattice"), symbols, _floats([site["abc"] for site in sites], "abc of the sites"))


def _from_jarvis(value: Mapping[str, Any]) -> Crystal:
    lattice = _floats(value["lattice_mat"], "lattice_mat").reshape(3, 3)
    coords = _floats(value["coords"], "coords").reshape(-1, 3)
    if value.get("cartesian"):
        coords = _fractional(lattice, coords)
    return _crystal(lattice, [str(symbol).strip() for symbol in value["elements"]], coords)


def _from_ase_dict(value: Mapping[str, Any]) -> Crystal:
    numbers = _floats(value["numbers"], "numbers").astype(int)
    positions, cell = _floats(value["positions"], "positions"), _floats(value["cell"], "cell")
    pbc = np.array(list(value.get("pbc", (True, True, True))), dtype=bool)
    return from_ase(Atoms(numbers, positions.reshape(-1, 3), cell=cell.reshape(3, 3), pbc=pbc))


def from_structure(structure: Any) -> Crystal:
    """Decode a `pymatgen.core.Structure`."""
    lattice = structure.lattice
    _refuse_partly_periodic(lattice.pbc)
    for k, site in enumerate(structure):
        if not site.is_ordered:
            raise _disordered(k, {str(s): float(x) for s, x in site.species.items()})
    symbols = [site.specie.symbol for site in structure]
    return _crystal(np.array(lattice.matrix), symbols, np.array(structure.frac_coords))


def from_ase(atoms: Any) -> Crystal:
    """Decode an `ase.Atoms`."""
    if atoms.cell.rank < 3:
        raise StructureError("no unit cell (an isolated molecule or a layer?); give the frame a full lattice")
    _refuse_partly_periodic(atoms.pbc)
    occupancy = atoms.info.get("occupancy")  # ASE's CIF reader keeps the shares of a mixed site here
    if isinstance(occupancy, dict):
        for k, shares in enumerate(occupancy.values()):
            if list(shares.values()) != [1]:
                raise _disordered(k, shares)
    lattice = np.array(atoms.cell)
    return _crystal(lattice, atoms.get_chemical_symbols(), _fractional(lattice, atoms.positions))


def xyz_frame(text: str) -> Atoms:
    """Parse the text of one frame of extended XYZ."""
    from ase.io import extxyz

    atoms: Atoms
    (atoms,) = extxyz.read_xyz(io.StringIO(text), index=slice(None))
    return atoms


def from_poscar(text: str) -> Crystal:
    """Decode POSCAR text, with one scale factor or three; one without element symbols is refused."""
    lines = text.splitlines()
    if len(lines) < 7:
        raise StructureError(f"the POSCAR has {len(lines)} lines and is cut short; copy it again")
    scale = np.array(_leading_numbers(lines[1]))
    if len(scale) not in (1, 3) or (len(scale) == 3 and (scale <= 0).any()):
        raise StructureError(
            f"line 2 of the POSCAR is {lines[1].strip()!r}; one scale factor or three above 0 belong there"
        )
    lattice = np.array([_three(lines[k], f"line {k + 1} (a lattice vector)") for k in (2, 3, 4)])
    if len(scale) == 1 and scale[0] < 0:  # it is the volume
        scale = np.cbrt(-scale / abs(np.linalg.det(lattice)))
    lattice = lattice * scale
    words = lines[5].split()
    named = bool(words) and not words[0].isdigit()
    counted, *rest = lines[6 if named else 5 :]
    counts = [int(word) for word in re.split("[!#]", counted)[0].split() if word.isdigit()]
    if rest and rest[0].strip()[:1] in ("S", "s"):  # selective dynamics
        rest = rest[1:]
    rows = rest[1 : 1 + sum(counts)]
    if len(rows) < sum(counts):
        raise StructureError(f"the POSCAR has {len(rows)} of {sum(counts)} positions and is cut short; copy it again")
    symbols = _poscar_symbols(words, counts) if named else _trailing_symbols(rows)
    coords = np.array([_three(row, f"position {k + 1}") for k, row in enumerate(rows)]).reshape(-1, 3)
    is_cartesian = bool(rest) and rest[0].strip()[:1] in ("C", "c", "K", "k")
    return _crystal(lattice, symbols, _fractional(lattice, coords * scale) if is_cartesian else coords)


def _poscar_symbols(words: list[str], counts: list[int]) -> list[str]:
    symbols = [re.split("[/_]", word)[0] for word in words]  # as in Si_sv/0123abcd
    for word, symbol in zip(words, symbols, strict=True):
        if symbol not in ELEMENTS:
            raise StructureError(f"unknown element {word!r}; write plain element symbols on line 6")
    if len(symbols) != len(counts):
        raise StructureError(f"the POSCAR has {len(symbols)} symbols and {len(counts)} counts; give one of each")
    return [symbol for symbol, count in zip(symbols, counts, strict=True) for _ in range(count)]


def _trailing_symbols(rows: list[str]) -> list[str]:
    """Give the symbols behind the positions, which some programs write in files of the older form."""
    symbols = [word for row in rows for word in row.split()[3:] if word in ELEMENTS]
    if len(symbols) != len(rows) or not rows:
        raise StructureError("the POSCAR names no elements; add a line of symbols above the counts")
    return symbols


def _leading_numbers(line: str) -> list[float]:
    numbers = []
    for word in line.split():
        if not _NUMBER.fullmatch(word):
            break
        numbers.append(float(word.lower().replace("d", "e")))
    return numbers


def _three(line: str, what: str) -> list[float]:
    numbers = _leading_numbers(line)[:3]
    if len(numbers) < 3:
        raise StructureError(f"{what} of the POSCAR is {line.strip()[:_SHOWN]!r}; three numbers were expected")
    return numbers


def _by_ase(path: Path) -> Crystal:
    import ase.io

    frames = ase.io.read(path, index=":")
    if len(frames) != 1:
        raise StructureError(f"holds {len(frames)} frames; give the file as the source, or one structure a file")
    return from_ase(frames[0])


def _crystal(cell: Float64[np.ndarray, ...], symbols: Sequence[str], frac_coords: Float64[np.ndarray, ...]) -> Crystal:
    """Give the structure of a cell, of 9 numbers or of a, b, c and three angles, and its sites.

    Raises:
        StructureError: the numbers are not as many as they must be, or a symbol is no element.
    """
    if cell.size not in (6, 9):
        raise StructureError(f"the lattice has {cell.size} numbers; give 6 (a b c alpha beta gamma) or 9 (3 x 3)")
    if frac_coords.size != 3 * len(symbols):
        raise StructureError(f"{len(symbols)} species but {frac_coords.size} coordinates; give three a site")
    numbers = [ELEMENTS.get(symbol, 0) for symbol in symbols]
    if 0 in numbers:
        k = numbers.index(0)
        raise StructureError(f"site {k + 1} has the unknown element {symbols[k]!r}; write its symbol (deuterium: H)")
    lattice = cell.reshape(3, 3) if cell.size == 9 else cell_from_parameters(cell.ravel().tolist())
    return Crystal(lattice, np.array(numbers, dtype=np.uint8), frac_coords.reshape(-1, 3))


def _fractional(lattice: Float64[np.ndarray, "3 3"], positions: Any) -> Float64[np.ndarray, "n 3"]:
    if abs(np.linalg.det(lattice)) < np.finfo(float).tiny:
        raise StructureError("zero-volume cell; correct the lattice")
    coords: Float64[np.ndarray, "n 3"] = np.linalg.solve(lattice.T, np.asarray(positions, np.float64).T).T
    return coords


def _reason(error: Exception) -> str:
    said = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split())[:300])))
    lost = ""
    if not str(error).strip() or isinstance(error, _STUMBLES):
        lost = ": something that belongs to it is missing or out of place, as where a file is cut short"
    return f"malformed structure ({said}){lost}; mend it or delete the row"


def _refuse_partly_periodic(pbc: Any) -> None:
    if not all(pbc):
        directions = "".join("T" if p else "F" for p in pbc)
        raise StructureError(
            f"periodic in {directions} only; if this is a whole crystal, set pbc to T in all three directions"
        )


def _disordered(site: int, shares: Mapping[str, float]) -> StructureError:
    content = " + ".join(f"{share:g} {symbol}" for symbol, share in shares.items()) or "nothing"
    return StructureError(f"site {site + 1} is disordered ({content}); use an ordered structure, one whole atom a site")


def _unquoted(value: Any) -> Any:
    """Undo JSON quoting; refuse what is missing."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise StructureError(f"a list or dict in JSON was expected: {error}") from None
    if value is None or isinstance(value, float):
        raise StructureError(_MISSING)
    return value


def _floats(value: Any, what: str) -> Float64[np.ndarray, ...]:
    """Give a flat or nested list of numbers as an array; None becomes NaN."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise StructureError(f"{what} must be numbers, as many in each row") from None
