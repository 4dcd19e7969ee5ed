"""Real CIFs of many exporters, held against what pymatgen and ASE read."""

from __future__ import annotations

import csv
import warnings

import numpy as np
import pytest
from ase.data import chemical_symbols
from cif_texts import read
from pymatgen.core import Composition
from pymatgen.io.cif import CifParser

LEFT_OUT = {
    # Four operations beside C 1 2/c 1, which has eight: the centring is missing, and half of the atoms.
    "pymatgen-test-files__P24Ru4H252C296S24N16.cif": "are not those of _symmetry_space_group_name_H-M = C 1 2/c 1",
    "matterviz__P24Ru4H252C296S24N16.cif": "are not those of _symmetry_space_group_name_H-M = C 1 2/c 1",
    # Coordinates of one origin beside the operations of the other: O is .28 angstrom from O.
    "openchemistry-crystals__CoFe2O4.cif": "atom site 3 (O) is 0.283 angstrom from its own copy",
    # Three molecules on top of one another, C .28 angstrom from H.
    "pyobjcryst__caffeine.cif": "make C144 N72 O36 H180, more than Z = 6 of C8 H10 N4 O2",
}
# Both other readers pass over the symbol, which stands under the name of the reference setting: 1 atom in a cube of
# 3.56 angstrom in place of 4, and 4 in place of 88.
BY_THE_REFERENCE = {"diffpy.structure__Ni_ref.cif": "Ni 4", "easycrystallography__Ho2Ti2O7.cif": "Ho2Ti2O7 88"}
MANY_SITES = 150


@pytest.fixture(scope="module")
def corpus(test_data):
    """Name, text and row of the index of each CIF."""
    folder = test_data / "cifs"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    with (folder / "index.csv").open(newline="", encoding="utf-8") as index:
        rows = list(csv.DictReader(index))
    return [(row["file"], text, row) for row in rows if "_atom_site_" in (text := _text(folder / row["file"]))]


def _text(path):
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _agreed(corpus):
    return [(name, text, row) for name, text, row in corpus if (row["agree"], row["disordered"]) == ("yes", "no")]


def _said(crystal):
    symbols = [chemical_symbols[number] for number in crystal.numbers]
    return (
        f"{Composition(dict(zip(*np.unique(symbols, return_counts=True), strict=True))).reduced_formula} {len(symbols)}"
    )


def test_files_that_both_read_alike_are_read_alike(corpus):
    """D is asked for as hydrogen, as both of the others take it."""
    agreed = _agreed(corpus)
    assert len(agreed) > 200
    left_out = {}
    for name, text, row in agreed:
        first, *_ = read(text, deuterium=True)
        if first.fault is not None:
            left_out[name] = first.fault
        else:
            assert _said(first) == BY_THE_REFERENCE.get(name, row["pymatgen"]), name
    assert left_out.keys() <= LEFT_OUT.keys(), left_out
    assert all(LEFT_OUT[name] in said for name, said in left_out.items()), left_out
    assert len(left_out) <= 0.02 * len(agreed)


def test_atoms_are_where_pymatgen_has_them(corpus):
    looked_at = 0
    for name, text, row in _agreed(corpus):
        first, *_ = read(text, deuterium=True)
        if first.fault is not None or name in BY_THE_REFERENCE or int(row["pymatgen"].split()[-1]) > MANY_SITES:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = CifParser.from_str(text, occupancy_tolerance=10).parse_structures(primitive=False)[0]
        np.testing.assert_allclose(first.lattice, other.lattice.matrix, atol=1e-4, err_msg=name)
        apart = first.frac_coords[:, None] - other.frac_coords
        distances = np.linalg.norm((apart - np.round(apart)) @ first.lattice, axis=2)
        distances[first.numbers[:, None] != [site.specie.Z for site in other]] = np.inf
        partner = distances.argmin(axis=1)
        assert distances.min(axis=1).max() < 0.02, name
        assert len(set(partner.tolist())) == len(other), name
        looked_at += 1
    assert looked_at > 150


def test_every_file_is_read_or_left_out_with_a_reason(corpus):
    for name, text, row in corpus:
        for crystal in read(text):
            assert (crystal.fault is None) == (len(crystal.numbers) > 0), name
            if row["disordered"] == "yes":
                assert "disordered" in (crystal.fault or ""), name
