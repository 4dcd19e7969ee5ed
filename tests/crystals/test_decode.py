"""What stands for one structure in a cell or a file: each kind is read, or named for what it is."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase.data import chemical_symbols
from ase.io.jsonio import encode
from format_cases import atoms_of, check, frame_of, three_structures
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed_cases import POSCAR
from pymatgen.core import Lattice, Molecule, Structure
from pymatgen.io.vasp import Poscar
from reading import read_crystals

from matcard.crystals.decode import decode, decode_some, looks_like_structure
from matcard.errors import StructureError
from matcard.table_files import LISTS


@pytest.fixture(scope="module")
def structures():
    return three_structures()


def jarvis(structure, cartesian=False):
    """A structure as JARVIS-Tools writes its atoms."""
    return {
        "lattice_mat": structure.lattice.matrix.tolist(),
        "coords": (structure.cart_coords if cartesian else structure.frac_coords).tolist(),
        "elements": [f"{site.specie.symbol} " for site in structure],
        "abc": list(structure.lattice.abc),
        "angles": list(structure.lattice.angles),
        "cartesian": cartesian,
        "props": [""] * len(structure),
    }


def bare(content):
    """A dict without empty ones, which parquet cannot hold."""
    if isinstance(content, dict):
        return {key: bare(value) for key, value in content.items() if value != {}}
    return [bare(value) for value in content] if isinstance(content, list) else content


def todict(atoms):
    return {key: np.asarray(value).tolist() for key, value in atoms.todict().items() if key != "info"}


WAYS = {
    "pymatgen": lambda structure, atoms: bare(structure.as_dict()),
    "pymatgen, text": lambda structure, atoms: structure.to_json(),
    "jarvis": lambda structure, atoms: jarvis(structure),
    "jarvis, cartesian": lambda structure, atoms: jarvis(structure, cartesian=True),
    "ase, a dict": lambda structure, atoms: todict(atoms),
    "ase, its own json": lambda structure, atoms: encode(atoms),
    "poscar": lambda structure, atoms: Poscar(structure).get_str(significant_figures=16),
    "cif": lambda structure, atoms: structure.to(fmt="cif"),
}
FORMATS = {
    "t.jsonl": lambda frame, path: path.write_text("\n".join(map(json.dumps, frame.to_dict("records")))),
    "t.json": lambda frame, path: path.write_text(json.dumps(frame.to_dict("records"))),
    "t.parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("column", ["structure", "atoms", "relaxed"])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("way", WAYS)
def test_structures_in_a_column(tmp_path, structures, way, name, column):
    """Whatever the column is called; parquet gives arrays where JSON gives lists."""
    cells = [WAYS[way](structure, atoms) for structure, atoms in zip(structures, atoms_of(structures), strict=True)]
    FORMATS[name](frame_of(**{column: cells}), tmp_path / name)
    check(read_crystals(tmp_path / name), structures, sorted_sites="cif" in way)


def test_an_object_alone_in_a_json_file_is_a_structure(tmp_path, structures):
    for name, way in (("salt", "pymatgen"), ("iron", "jarvis")):
        (tmp_path / f"{name}.json").write_text(json.dumps(WAYS[way](structures[name == "iron"], None)))
        crystals = read_crystals(tmp_path / f"{name}.json").crystals
        assert crystals.ids.tolist() == [name]
        assert crystals.structure(0) == structures[name == "iron"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.7]]).as_dict(), "the dict is a Molecule has no lattice or sites"),
        ({"some": "thing"}, "the dict has no lattice or sites"),
        ("mp-149", "'mp-149' is no structure; CIF, POSCAR, JSON or extended XYZ was expected"),
        ("", "the structure is missing here"),
        ("[1, 2]", "the structure is a list"),
        (3.5, "the structure is missing here"),
        (7, "the structure is a int"),
        ("2\n\nH 0 0 0\nH 0 0 0.7\n", "no CIF"),
    ],
)
def test_what_is_no_structure_is_named(value, said):
    ((found,),) = decode_some([value])
    assert said in found.fault
    assert not looks_like_structure(value)


def test_extended_xyz_in_a_column(tmp_path, structures):
    cells = []
    for k, atoms in enumerate(atoms_of(structures)):
        atoms.info = {}
        ase.io.write(tmp_path / f"{k}.extxyz", atoms)
        cells.append((tmp_path / f"{k}.extxyz").read_text())
    frame_of(frames=cells).to_csv(tmp_path / "t.csv", index=False)
    check(read_crystals(tmp_path / "t.csv"), structures)


# ---- POSCAR


def scaled(text, factors):
    lines = text.split("\n")
    return "\n".join([lines[0], factors, *lines[2:]])


@pytest.mark.parametrize("mode", ["Direct", "Cartesian", "kartesian", "Selective dynamics\nDirect"])
@pytest.mark.parametrize("factors", ["1.0", "2.5", "-100", "0.5 1.0 2.0", "1.0 ! a comment"])
def test_scale_factors(mode, factors):
    """As VASP has them: one, a negative volume, or three, which scale x, y and z of vectors and positions."""
    lattice = np.array([[4.0, 1, 0], [0, 3, 0.5], [0.3, 0, 5]])
    coords = np.array([[0.1, 0.2, 0.3], [0.6, 0.5, 0.4], [0.9, 0.1, 0.8]])
    rows = "\n".join(" ".join(map(str, row)) for row in coords)
    flags = " T T F" if "Sel" in mode else ""
    text = "\n".join(
        [
            "a comment with Na in it",
            factors,
            *(" ".join(map(str, row)) for row in lattice),
            "Li_sv O/0123",
            "2 1",
            mode,
            rows.replace("\n", f"{flags}\n") + flags,
            "",
        ]
    )
    numbers = [float(word) for word in factors.split("!")[0].split()]
    factor = np.array(numbers) if numbers[0] > 0 else np.cbrt(-numbers[0] / np.linalg.det(lattice))
    expected = lattice * factor
    (raw,) = decode(text)
    np.testing.assert_allclose(raw.lattice, expected)
    assert raw.numbers.tolist() == [3, 3, 8]
    cartesian = mode.lower().startswith(("c", "k"))
    np.testing.assert_allclose(raw.frac_coords @ expected, coords * factor if cartesian else coords @ expected)
    if len(numbers) == 1 and "!" not in factors and not (cartesian and numbers[0] < 0):
        theirs = Poscar.from_str(text.replace("Li_sv O/0123", "Li O")).structure
        np.testing.assert_allclose(raw.lattice, theirs.lattice.matrix)
        np.testing.assert_allclose(raw.frac_coords, theirs.frac_coords, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    direct=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_what_pymatgen_writes_is_read(counts, direct, seed):
    rng = np.random.default_rng(seed)
    species = [symbol for symbol, count in zip(("Na", "Fe", "O"), counts, strict=False) for _ in range(count)]
    lattice = Lattice(np.eye(3) * 5 + rng.uniform(-1, 1, (3, 3)))
    structure = Structure(lattice, species, rng.uniform(0, 1, (len(species), 3)))
    (raw,) = decode(Poscar(structure).get_str(direct=direct, significant_figures=14))
    assert [chemical_symbols[number] for number in raw.numbers] == species
    np.testing.assert_allclose(raw.lattice, structure.lattice.matrix, atol=1e-10)
    np.testing.assert_allclose(raw.frac_coords, structure.frac_coords, atol=1e-9)


LINES = POSCAR.split("\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (POSCAR.replace("Na Cl\n", ""), "names no elements; add a line of symbols above the counts"),
        (POSCAR.replace("Na Cl\n", "").replace("\n0 0 0\n", "\n0 0 0 Na\n"), "names no elements"),
        (POSCAR.replace("Na Cl", "Na Xx"), "unknown element 'Xx'"),
        (POSCAR.replace("1 1\n", "1 1 1\n"), "has 2 of 3 positions and is cut short"),
        (POSCAR.replace("Na Cl", "Na Cl Br"), "3 symbols and 2 counts"),
        (POSCAR.replace("\n1.0\n", "\n1.0 1.0\n"), "line 2 of the POSCAR is '1.0 1.0'; one scale factor or three"),
        (POSCAR.replace("\n1.0\n", "\n1.0 -1.0 1.0\n"), "one scale factor or three above 0"),
        (POSCAR.replace("\n4 0 0\n", "\n4 0\n"), "line 3 (a lattice vector) of the POSCAR is '4 0'"),
        (POSCAR.replace("0.5 0.5 0.5", "0.5 half 0.5"), "position 2 of the POSCAR is '0.5 half 0.5'"),
        ("\n".join(LINES[:5]), "has 5 lines and is cut short"),
    ],
)
def test_a_bad_poscar_says_what_is_wrong(tmp_path, text, said):
    (tmp_path / "POSCAR_a").write_text(text)
    assert said in read_crystals(tmp_path / "POSCAR_a").left_out["reason"][0]


def test_symbols_behind_positions_name_the_elements_of_the_older_form():
    text = POSCAR.replace("Na Cl\n", "").replace("\n0 0 0\n", "\n0 0 0 Na\n").replace("0.5 0.5 0.5", "0.5 0.5 0.5 Cl")
    (found,) = decode(text)
    assert found.numbers.tolist() == [11, 17]
    with pytest.raises(StructureError, match="names no elements"):
        decode(POSCAR.replace("Na Cl\n", "").replace("c\n", "Na Cl\n", 1))  # a comment names none


# ---- frames


def frames_of(tmp_path, comments):
    cell = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 pbc="T T T"'
    (tmp_path / "t.extxyz").write_text("".join(f"1\n{cell} {comment}\nNa 0 0 0\n" for comment in comments))
    return read_crystals(tmp_path / "t.extxyz").columns


def test_phases_called_t_and_f_are_words(tmp_path):
    """ASE takes T and F for truth values, frame by frame; a column has one type."""
    words = ["T", "O", "R", "T", "F", "True"]
    columns = frames_of(tmp_path, [f"phase={word} stable={'T' if k % 2 else 'F'}" for k, word in enumerate(words)])
    assert columns["phase"].tolist() == words
    assert columns["stable"].tolist() == [False, True] * 3
    assert columns["stable"].dtype == bool


def test_numbers_beside_words_and_lists_are_told(tmp_path):
    columns = frames_of(tmp_path, ['setting="1 2 3" gap=1.5', 'setting="4 5 6" gap=2'])
    assert columns["setting"].tolist() == [LISTS, LISTS]
    assert columns["gap"].tolist() == [1.5, 2]


def test_parquet_written_by_pandas_from_dicts(tmp_path, structures):
    """The dicts come back with arrays for lists, which have no truth value."""
    decorated = [structure.copy(site_properties={"magmom": [0.5] * len(structure)}) for structure in structures]
    frame_of(structure=[bare(structure.as_dict()) for structure in decorated]).to_parquet(tmp_path / "t.parquet")
    assert isinstance(pd.read_parquet(tmp_path / "t.parquet")["structure"][0]["sites"], np.ndarray)
    check(read_crystals(tmp_path / "t.parquet"), structures)
