"""Decoders: what stands for one structure in a source -> `Raw`, or a `StructureError`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.readers.raw import Raw, StructureError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float64


def from_columns(cell: tuple[Any, Any, Any]) -> Raw:
    """Decode lattice (3 x 3, or a b c alpha beta gamma), element symbols and fractional coordinates.

    Each may be nested or flat, a list, an array, or a list written as JSON.
    """
    lattice, species, coords = (_unquoted(value) for value in cell)
    numbers = _floats(lattice, "the lattice")
    if numbers.size not in (6, 9):
        raise StructureError(f"the lattice has {numbers.size} numbers; give 6 (a b c alpha beta gamma) or 9 (3 x 3)")
    if not isinstance(species, (list, tuple, np.ndarray)) or not all(isinstance(symbol, str) for symbol in species):
        raise StructureError("species must be a list of element symbols")
    sites = _floats(coords, "frac_coords")
    if sites.size != 3 * len(species):
        raise StructureError(f"{len(species)} species but {sites.size} coordinates; give three a site")
    shape = (6,) if numbers.size == 6 else (3, 3)
    return Raw(numbers.reshape(shape), species, sites.reshape(-1, 3))


def from_cell(value: Any) -> Raw:
    """Decode what one column holds: CIF text, or a pymatgen dict (as such or as JSON)."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        from matcard.crystals.readers.cif import from_cif

        return from_cif(value)
    value = _unquoted(value)
    if not isinstance(value, dict):
        raise StructureError(f"the structure is a {type(value).__name__}; CIF text or a pymatgen dict was expected")
    return from_dict(value)


def from_dict(structure: Mapping[str, Any]) -> Raw:
    """Decode `pymatgen.core.Structure.as_dict()` without building the structure."""
    lattice, sites = structure.get("lattice"), structure.get("sites")
    if not lattice or sites is None:
        raise StructureError("the dict has no lattice or sites; pymatgen's Structure.as_dict() was expected")
    _refuse_partly_periodic(lattice.get("pbc") or (True, True, True))
    cell = lattice.get("matrix")
    if cell is None:
        cell = [lattice[key] for key in ("a", "b", "c", "alpha", "beta", "gamma")]
    symbols = []
    for k, site in enumerate(sites):
        species = site["species"]
        if len(species) != 1 or species[0]["occu"] != 1:
            raise _disordered(k, {item["element"]: item["occu"] for item in species})
        symbols.append(str(species[0]["element"]))
    coords = _floats([site["abc"] for site in sites], "abc of the sites").reshape(-1, 3)
    return Raw(_floats(cell, "the lattice"), symbols, coords)


def from_structure(structure: Any) -> Raw:
    """Decode a `pymatgen.core.Structure`."""
    lattice = getattr(structure, "lattice", None)
    if lattice is None:
        raise StructureError(f"a {type(structure).__name__} has no lattice; a pymatgen Structure was expected")
    _refuse_partly_periodic(lattice.pbc)
    for k, site in enumerate(structure):
        if not site.is_ordered:
            raise _disordered(k, {str(s): float(x) for s, x in site.species.items()})
    symbols = [site.specie.symbol for site in structure]
    return Raw(np.array(lattice.matrix), symbols, np.array(structure.frac_coords).reshape(-1, 3))


def from_ase(atoms: Any) -> Raw:
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
    coords = np.linalg.solve(lattice.T, atoms.positions.T).T
    return Raw(lattice, atoms.get_chemical_symbols(), coords)


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
        raise StructureError("the structure is missing here; fill it in or delete the row")
    return value


def _floats(value: Any, what: str) -> Float64[np.ndarray, ...]:
    """Give a flat or nested list of numbers as an array; None becomes NaN."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise StructureError(f"{what} must be numbers, as many in each row") from None
