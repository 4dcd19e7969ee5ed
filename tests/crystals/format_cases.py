"""Three structures, tables of them, and the comparison with what is read back."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pymatgen.core import Lattice, Structure

GAPS = [5.0, 0.0, 1.5]
KINDS = ["salt", "metal", "other"]
IDS = ["a-1", "a-2", "007"]


def three_structures():
    return [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure(
            Lattice.from_parameters(3.1, 4.2, 5.3, 80, 95, 103),
            ["Li", "O", "Ti"],
            [[0.01, 0.02, 0.03], [0.51, 0.47, 0.22], [0.3, 0.8, 0.61]],
        ),
    ]


def frame_of(**columns):
    return pd.DataFrame({"material_id": IDS, **columns, "gap": GAPS, "kind": KINDS})


def abc_angles(structures):
    return [[*s.lattice.abc, *s.lattice.angles] for s in structures]


def species_of(structures):
    return [[site.specie.symbol for site in s] for s in structures]


def coords_of(structures):
    return [s.frac_coords.ravel().tolist() for s in structures]


def cifs_of(structures):
    return [s.to(fmt="cif") for s in structures]


def check(table, structures, *, columns=("gap", "kind"), ids=IDS, sorted_sites=False, rotated=False):
    """Compare with the structures themselves: cell, elements, and sites modulo lattice translations."""
    assert list(table.crystals.ids) == list(ids)
    assert table.left_out.empty
    assert list(table.columns) == list(columns)
    assert isinstance(table.columns.index, pd.RangeIndex)
    if "gap" in columns:
        assert table.columns["gap"].dtype.kind == "f"
        assert table.columns["gap"].tolist() == GAPS
    for i, expected in enumerate(structures):
        got = table.crystals.structure(i)
        if rotated:
            np.testing.assert_allclose(got.lattice.parameters, expected.lattice.parameters, atol=1e-5)
        else:
            np.testing.assert_allclose(got.lattice.matrix, expected.lattice.matrix, atol=1e-5)
        for site in expected:
            apart = got.frac_coords - site.frac_coords
            near = np.abs(apart - np.round(apart)).max(axis=1) < 1e-5
            assert [got[int(k)].specie.symbol for k in np.flatnonzero(near)] == [site.specie.symbol]
        assert len(got) == len(expected)
        if not sorted_sites:
            assert got.atomic_numbers == expected.atomic_numbers


def atoms_of(structures):
    from pymatgen.io.ase import AseAtomsAdaptor

    frames = []
    for name, gap, kind, structure in zip(IDS, GAPS, KINDS, structures, strict=True):
        frame = AseAtomsAdaptor.get_atoms(structure, msonable=False)
        frame.info = {"material_id": name, "gap": gap, "kind": kind}
        frames.append(frame)
    return frames


WORDS = ["None", "NA", "null", "", "nan"]
SPELT = {
    "kind": (WORDS, [*WORDS[:3], None, "nan"]),
    "gap": (["1.5", "nan", "NaN", "", "NA"], [1.5, None, None, None, None]),
    "count": (["1", "2", "NA", "4", "5"], [1, 2, None, 4, 5]),
    "metal": (["True", "NA", "False", "", "True"], [True, None, False, None, True]),
    "all": (["NA"] * 5, ["NA"] * 5),
    "code": (["1", "None", "2", "NA", "3"], [1, None, 2, None, 3]),
}


def check_spelling(columns):
    for name, (_, expected) in SPELT.items():
        assert [None if pd.isna(value) else value for value in columns[name]] == expected, name
    assert columns["gap"].dtype == columns["count"].dtype == float
