"""CIF text by pymatgen, where what its parser drops, guesses or replaces is refused."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from matcard.crystals.crystals import Raw, StructureError, lattice_from_parameters
from matcard.crystals.validate import MIN_HEIGHT, cell_heights

if TYPE_CHECKING:
    from collections.abc import Mapping

# What pymatgen warns of that casts doubt on the structure; the rest is harmless, or refused here with a reason.
_DOUBTFUL = re.compile("Missing elements|Incorrect stoichiometry|implicit hydrogens|Possible issue in CIF file")
_CELL = (*(f"_cell_length_{k}" for k in "abc"), *(f"_cell_angle_{k}" for k in ("alpha", "beta", "gamma")))
_SHOWN = 60
"""Characters of a line that a message shows."""
_SYMMETRY = re.compile(
    "_(symmetry|space_group)_(equiv_pos_as_xyz|symop_operation_xyz|space_group_name|name|it_number|int_tables)",
    re.IGNORECASE,
)


def from_cif(text: str) -> Raw:
    """Decode CIF text that holds one structure."""
    from pymatgen.io.cif import CifParser

    from matcard.crystals.decode import from_structure

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parser: Any = CifParser.from_str(text, occupancy_tolerance=1.0)
            blocks = parser.as_dict()
        except Exception as error:  # it counts the values of loops, and divides by nothing where there are none
            raise StructureError(_cut_short(text)) from error
        block = _only_block(blocks, text)
        elements = _elements(block)
        _refuse_flat_cell(block)
        try:
            (structure,) = parser.parse_structures(primitive=False, on_error="ignore")
        except ValueError as error:
            unparsed = [w for w in parser.warnings if w.startswith("No structure parsed")]
            cause = unparsed[-1].partition("\n")[2] if unparsed else str(error)
            if lacking := [key for key in _CELL if not _loop(block, key) or not _loop(block, key)[0].strip()]:
                cause = f"{', '.join(lacking)} is missing or empty; complete it"
            raise StructureError(f"the CIF gives no structure: {cause}") from None
    said = {*parser.warnings, *(str(w.message) for w in caught)}
    if any("Defaulting to P1" in s for s in said):
        _refuse_unknown_symmetry(block)
    raw = from_structure(structure)
    if set(raw.symbols) != elements:
        raise StructureError(
            f"the sites are of {sorted(elements)} but were read as {sorted(set(raw.symbols))}; write plain "
            "element symbols in _atom_site_type_symbol"
        )
    notes = tuple(sorted(" ".join(s.split()) for s in said if _DOUBTFUL.search(s)))
    return raw._replace(notes=notes)


def _cut_short(text: str) -> str:
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return (
        "the CIF is cut short or damaged: a loop in it has no values, or a row with too few or too many (its last line "
        f"is {last[:_SHOWN]!r}); copy or export it again"
    )


def _only_block(blocks: Mapping[str, Mapping[str, Any]], text: str) -> Mapping[str, Any]:
    """Give the data block with the sites; blocks of the same name hide one another from the parser."""
    with_sites = [block for block in blocks.values() if "_atom_site_fract_x" in block]
    if not with_sites:
        if "\ufffd" in text or "\0" in text:  # bytes that did not decode; UTF-16 without its mark
            raise StructureError("the file is not UTF-8 text; save it as UTF-8")
        raise StructureError("the CIF has no atom sites in fractional coordinates (_atom_site_fract_x)")
    if len(with_sites) > 1 or text.count("_atom_site_fract_x") > 1:
        raise StructureError("the CIF holds several structures; give each a file or row of its own")
    return with_sites[0]


def _loop(block: Mapping[str, Any], key: str) -> list[str]:
    values = block.get(key, [])
    return [values] if isinstance(values, str) else list(values)


def _elements(block: Mapping[str, Any]) -> set[str]:
    """Give the elements of the sites; refuse the sites that pymatgen would drop or place without a word."""
    if "_cell_length_a" not in block:
        raise StructureError("the CIF has no cell (_cell_length_a and so on); complete it")
    for axis in "xyz":
        for k, value in enumerate(_loop(block, f"_atom_site_fract_{axis}")):
            if value.strip() in (".", "?"):
                raise StructureError(f"atom site {k + 1} has no coordinate {axis}; complete or delete it")
    for k, value in enumerate(_loop(block, "_atom_site_occupancy")):
        if value.strip() == "." or re.fullmatch(r"[-+]?0*\.?0*(\(\d+\))?", value.strip()):
            raise StructureError(f"atom site {k + 1} has occupancy {value!r}; write 1 or delete the site")
    elements = set()
    for k, label in enumerate(_loop(block, "_atom_site_type_symbol") or _loop(block, "_atom_site_label")):
        letters = re.match("[A-Za-z]*", label)
        element = letters[0].title() if letters else ""
        if element not in chemical_symbols[1:]:
            raise StructureError(
                f"atom site {k + 1} has the unknown element {label!r}; write an element in _atom_site_type_symbol"
            )
        elements.add(element)
    return elements


def _refuse_flat_cell(block: Mapping[str, Any]) -> None:
    from pymatgen.io.cif import str2float

    if not all(isinstance(block.get(key), str) and block[key].strip() for key in _CELL):
        return  # the symmetry gives what is not written, or the parser says what is wrong
    parameters = np.array([[str2float(block[key]) for key in _CELL]], dtype=np.float64)
    thinnest = cell_heights(lattice_from_parameters(parameters)).min()
    if np.isfinite(parameters).all() and not thinnest >= MIN_HEIGHT:
        said = " ".join(block[key] for key in _CELL)
        raise StructureError(f"zero-volume cell: a b c alpha beta gamma = {said}; correct _cell_length_*/_cell_angle_*")


def _refuse_unknown_symmetry(block: Mapping[str, Any]) -> None:
    for key, value in block.items():
        if _SYMMETRY.match(key) and str(value).replace(" ", "").strip("'\"") not in ("P1", "1", "?", "."):
            raise StructureError(f"the symmetry {key} = {value} is not understood; write its operations, or P1")
