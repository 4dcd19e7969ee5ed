"""Decoders of structure files: CIF and POSCAR by pymatgen, with what its parsers guess refused."""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING, Any

from matcard.crystals.readers.decode import from_ase, from_dict, from_structure
from matcard.crystals.readers.raw import Raw, StructureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# What pymatgen warns of while it does the right thing, or what is refused here with a reason of its own.
_HARMLESS = re.compile(
    "rounded to ideal values|Spacegroup from|Defaulting to P1|1-line symmetry op|parsed as|sum to > 1"
    "|Skipping relative stoichiometry|Cannot determine chemical composition|Issues encountered"
)
_SYMMETRY = re.compile(
    "_(symmetry|space_group)_(equiv_pos_as_xyz|symop_operation_xyz|space_group_name|name|it_number|int_tables)",
    re.IGNORECASE,
)
POSCAR_NAME = re.compile(r"(POSCAR|CONTCAR)([^A-Za-z].*)?|.*\.(vasp|poscar)", re.IGNORECASE)


def from_file(path: Path) -> Raw:
    """Decode a file that holds one structure: CIF, POSCAR, pymatgen JSON, or what ASE reads."""
    text, suffix = path.read_text(encoding="utf-8", errors="replace"), path.suffix.lower()
    if POSCAR_NAME.fullmatch(path.name):
        return from_poscar(text)
    if suffix == ".json":
        return from_dict(json.loads(text))
    if suffix == ".cif" or "_cell_length_a" in text:
        return from_cif(text)
    return _by_ase(path) if suffix else from_poscar(text)


def from_cif(text: str) -> Raw:
    """Decode CIF text that holds one structure."""
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parser: Any = CifParser.from_str(text, occupancy_tolerance=1.0)
        blocks = parser.as_dict()
        block = _only_block(blocks, text)
        _refuse_guesses(block)
        try:
            (structure,) = parser.parse_structures(primitive=False, on_error="ignore")
        except ValueError as error:
            unparsed = [w for w in parser.warnings if w.startswith("No structure parsed")]
            cause = unparsed[-1].partition("\n")[2] if unparsed else str(error)
            raise StructureError(f"the CIF gives no structure: {cause}") from None
    said = {*parser.warnings, *(str(w.message) for w in caught if issubclass(w.category, UserWarning))}
    _refuse_replacements(block, said)
    notes = tuple(sorted(" ".join(s.split()) for s in said if not _HARMLESS.search(s)))
    return from_structure(structure)._replace(notes=notes)


def from_poscar(text: str) -> Raw:
    """Decode POSCAR text; one without element symbols is refused."""
    from pymatgen.io.vasp.inputs import Poscar

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
        raise StructureError(
            f"holds {len(frames)} frames; give the file as the source, or one structure a file"
        )
    return from_ase(frames[0])


def _only_block(blocks: Mapping[str, Mapping[str, Any]], text: str) -> Mapping[str, Any]:
    """Give the data block with the sites; blocks of the same name hide one another from the parser."""
    with_sites = [block for block in blocks.values() if "_atom_site_fract_x" in block]
    named = len(re.findall(r"^data_", text, re.MULTILINE | re.IGNORECASE))
    if len(with_sites) > 1 or (with_sites and named > 1 and len(blocks) == 1):
        raise StructureError("the CIF holds several structures; give each a file or row of its own")
    if not with_sites:
        raise StructureError("the CIF has no atom sites in fractional coordinates (_atom_site_fract_x)")
    return with_sites[0]


def _loop(block: Mapping[str, Any], key: str) -> list[str]:
    values = block.get(key, [])
    return [values] if isinstance(values, str) else list(values)


def _refuse_guesses(block: Mapping[str, Any]) -> None:
    """Refuse the sites that pymatgen drops or places without a word."""
    for axis in "xyz":
        for k, value in enumerate(_loop(block, f"_atom_site_fract_{axis}")):
            if value.strip() in (".", "?"):
                raise StructureError(f"atom site {k + 1} has no coordinate {axis}; complete or delete it")
    for k, value in enumerate(_loop(block, "_atom_site_occupancy")):
        if value.strip() == "." or re.fullmatch(r"[-+]?0*\.?0*(\(\d+\))?", value.strip()):
            raise StructureError(f"atom site {k + 1} has occupancy {value!r}; write 1 or delete the site")
    for k, symbol in enumerate(_loop(block, "_atom_site_type_symbol") or _loop(block, "_atom_site_label")):
        if not re.search("[A-Za-z]", symbol):
            raise StructureError(f"atom site {k + 1} has no element ({symbol!r}); write its symbol")


def _refuse_replacements(block: Mapping[str, Any], said: set[str]) -> None:
    """Refuse a structure in which pymatgen has guessed an element or ignored the symmetry."""
    for symbol, element in _guesses(said):
        if not element or not re.match(rf"{element}(?![a-z])", symbol, re.IGNORECASE):
            raise StructureError(
                f"unknown element {symbol!r}; write _atom_site_type_symbol with plain element symbols"
            )
    if any("Defaulting to P1" in s for s in said):
        for key, value in block.items():
            if _SYMMETRY.match(key) and str(value).replace(" ", "").strip("'\"") not in ("P1", "1", "?", "."):
                raise StructureError(
                    f"the symmetry {key} = {value} is not understood; write symmetry operations, or P1"
                )


def _guesses(said: set[str]) -> Iterator[tuple[str, str]]:
    for message in said:
        if match := re.fullmatch(r"(.+) parsed as (\w*)", message):
            yield match[1], match[2]
