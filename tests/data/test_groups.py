from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymatgen.core import Composition, Lattice, Structure
from sample_cases import of_crystals, rows

from matcard.crystals.crystals import Crystals, chemical_systems, offsets_from_counts, reduced_formulas
from matcard.crystals.read import read_crystals
from matcard.data.groups import (
    contains_element,
    duplicates,
    group_keys,
    prototypes,
    same_numbers,
    within_rounding,
)
from matcard.data.options import DataOptions
from matcard.data.rows import RowKind
from matcard.errors import InputError, MatcardWarning

SYMBOLS = ["H", "Li", "C", "N", "O", "F", "Na", "Al", "Si", "Cl", "Fe", "Sr", "Ti", "Pb", "Xe", "He", "Og"]


def table_of(structures, **columns):
    n = len(structures)
    crystals = Crystals(
        np.array([f"c{i}" for i in range(n)], dtype=object),
        np.array([s.lattice.matrix for s in structures]),
        offsets_from_counts(np.array([len(s) for s in structures])),
        np.concatenate([s.atomic_numbers for s in structures]).astype(np.uint8),
        np.concatenate([s.frac_coords for s in structures]),
    )
    return of_crystals(crystals, **columns)


def boxes(contents):
    """Structures of given elements; where they sit does not matter."""
    return table_of(
        [
            Structure(Lattice.cubic(9.0), symbols, [[i / len(symbols), 0, 0] for i in range(len(symbols))])
            for symbols in contents
        ]
    )


ROCK_SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.82, 6.26), ["Zn", "S"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.376]]
)
OLIVINE = Structure.from_spacegroup(
    "Pnma",
    Lattice.orthorhombic(10.2, 6.0, 4.75),
    ["Mg", "Mg", "Si", "O", "O", "O"],
    [[0, 0, 0], [0.277, 0.25, 0.99], [0.094, 0.25, 0.427], [0.091, 0.25, 0.766], [0.447, 0.25, 0.221],
     [0.163, 0.033, 0.277]],
)  # fmt: skip
PROTOTYPES = [ROCK_SALT, PEROVSKITE, WURTZITE, OLIVINE]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(SYMBOLS), st.integers(1, 6), min_size=1, max_size=4),
        min_size=1,
        max_size=8,
    )
)
def test_reduced_formulas_are_the_ratios_of_the_elements(contents):
    keys = reduced_formulas(boxes([[s for s, n in c.items() for _ in range(n)] for c in contents]).inputs)
    for key, content in zip(keys, contents, strict=True):
        divisor = np.gcd.reduce(list(content.values()))
        assert Composition(key) == Composition({s: n // divisor for s, n in content.items()})


def test_reduced_formulas_are_written_as_pymatgen_does():
    contents = [["O"] * 3 + ["Ti", "Sr"], ["Cl", "Cl", "Na", "Na"], ["Pb", "I", "Cs", "I", "I"], ["Xe", "F", "F"]]
    assert reduced_formulas(boxes(contents).inputs).tolist() == ["SrTiO3", "NaCl", "CsPbI3", "XeF2"]


def test_reduced_formulas_of_real_crystals_group_as_the_formulas_they_come_with(test_data):
    table = of_crystals(read_crystals(test_data / "mp_small_4000.parquet"))
    mine, given_ = group_keys(table, "formula"), table.columns["formula"].to_numpy()
    pairs = set(zip(mine, given_, strict=True))
    assert len(pairs) == len(set(mine)) == len(set(given_))


def test_chemical_systems_list_the_elements_alphabetically():
    table = boxes([["Ti", "O", "Sr", "O"], ["Fe"], ["Na", "Cl", "Cl"]])
    assert chemical_systems(table.inputs).tolist() == ["O-Sr-Ti", "Fe", "Cl-Na"]


def test_contains_element():
    table = boxes([["Fe", "O"], ["F", "Na"], ["Fe"]])
    assert contains_element(table.inputs, "Fe").tolist() == [True, False, True]
    with pytest.raises(InputError, match="'Iron' is no symbol of an element"):
        contains_element(table.inputs, "Iron")


@pytest.mark.parametrize(("structure", "number"), list(zip(PROTOTYPES, [225, 221, 186, 62], strict=True)))
def test_a_prototype_is_the_same_for_other_elements_cells_origins_and_site_orders(structure, number):
    elements = sorted({site.specie.symbol for site in structure})
    others = structure.copy()
    others.replace_species(dict(zip(elements, ["Br", "K", "Rb"], strict=False)))
    shifted = structure.copy()
    shifted.translate_sites(range(len(shifted)), [0.21, 0.33, 0.17])
    # The origin half a cell away swaps Wyckoff letters such as a and b.
    half = structure.copy()
    half.translate_sites(range(len(half)), [0.5, 0.5, 0.5])
    variants = [
        structure, others, structure.get_primitive_structure(), structure * (2, 1, 1), shifted, half,
        Structure.from_sites(list(structure)[::-1]),
    ]  # fmt: skip
    keys = prototypes(table_of(variants).inputs)
    assert len(set(keys)) == 1
    assert keys[0].startswith(f"{number} ")


def test_prototypes_of_different_structures_differ():
    fluorite = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.5), ["Ca", "F"], [[0, 0, 0], [0.25] * 3])
    antifluorite = fluorite.copy()
    antifluorite.replace_species({"Ca": "O", "F": "Na"})
    elemental = PEROVSKITE.copy()
    elemental.replace_species({"Sr": "Ti"})
    keys = prototypes(table_of([*PROTOTYPES, fluorite, antifluorite, elemental]).inputs)
    assert keys[4] == keys[5]
    assert len(set(keys)) == 6


def test_a_crystal_without_a_prototype_is_told_and_stays_alone():
    touching = Structure(Lattice.cubic(4), ["H", "H"], [[0, 0, 0], [0, 0, 0.01]])
    with pytest.warns(MatcardWarning, match=r"no symmetry in 2 crystals.*: c1, c2$"):
        keys = group_keys(table_of([ROCK_SALT, touching, touching]), "prototype")
    assert len(set(keys)) == 3


def test_random_groups_are_single():
    keys = group_keys(boxes([["Fe"]] * 5), "random")
    assert len(set(keys)) == 5


def test_groups_by_column():
    table = table_of([ROCK_SALT] * 4, lab=["a", "b", "a", None], year=[1990, 1990, 2000, 2010])
    assert group_keys(table, "column:year").tolist() == ["1990", "1990", "2000", "2010"]
    with pytest.warns(MatcardWarning, match="1 samples have no value"):
        keys = group_keys(table, "column:lab")
    assert keys[:3].tolist() == ["a", "b", "a"]
    assert keys[3] not in ("a", "b")


def compositions(tmp_path, columns, **options):
    path = tmp_path / "rows.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return rows(DataOptions(source=str(path), target="y", kind="compositions", **options))


def test_compositions_of_the_same_elements_or_components_are_one_system(tmp_path):
    formulas = {"formula": ["Zr0.5Cu0.5", "CuZr2", "Zr", "ZrCuAl", "Al2Cu3Zr4", "Cu"], "y": [0, 1] * 3}
    assert group_keys(compositions(tmp_path, formulas), "chemical_system").tolist() == [2, 2, 0, 3, 3, 1]
    oxides = {"SiO2": [60, 1, 100], "Na2O": [40, 2, 0], "y": [0, 1, 0]}
    one, two, three = group_keys(compositions(tmp_path, oxides, features=["SiO2", "Na2O"]), "chemical_system").tolist()
    assert one == two != three


def test_rows_and_features_of_compositions_have_no_chemical_system(tmp_path):
    with pytest.raises(InputError, match="no groups of kind 'chemical_system'"):
        group_keys(
            compositions(tmp_path, {"formula": ["ZrCu", "Al"], "y": [0, 1]}, composition_features="magpie"),
            "chemical_system",
        )
    with pytest.raises(InputError, match=r"'chemical_systm'.*did you mean chemical_system"):
        group_keys(compositions(tmp_path, {"formula": ["ZrCu", "Al"], "y": [0, 1]}), "chemical_systm")
    table = compositions(tmp_path, {"a": [1, 2], "y": [0, 1]}, features=["a"])
    with pytest.raises(InputError, match="there are: duplicates, column:NAME, random"):
        group_keys(replace(table, kind=RowKind("table", ("a",))), "chemical_system")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("formla", "did you mean formula"),
        ("element", "no groups of kind 'element'"),
        ("column:yaer", "did you mean year"),
    ],
)
def test_unknown_kinds_and_columns_are_refused_with_the_nearest_names(kind, says):
    with pytest.raises(InputError, match=says):
        group_keys(table_of([ROCK_SALT], year=[2000]), kind)


def test_samples_are_the_same_to_the_precision_of_the_network():
    numbers = np.array([[0.1 + 0.2, 0.7], [0.3, 0.7], [0.3001, 0.6999], [0.3, 0.7], [-0.0, 1], [0.0, 1]])
    assert numbers[0, 0] != numbers[1, 0]  # by rounding
    a, b, c, d, e, f = same_numbers(numbers).tolist()
    assert a == b == d != c
    assert e == f not in (a, c)


def test_compositions_are_the_same_but_for_rounding(tmp_path):
    """A seventh digit does not make another glass, 0.01 % does; in other tables each digit counts."""
    oxides = {
        "SiO2": [60, 60.000006, 60.01, 30],
        "Na2O": [30, 30, 30, 15],
        "CaO": [10, 9.999994, 9.99, 5],
        "y": [1, 0, 1, 0],
    }
    glasses = compositions(tmp_path, oxides)
    assert len(np.unique(same_numbers(glasses.inputs))) == 3
    a, b, c, d = group_keys(glasses, "duplicates").tolist()
    assert a == b == d != c
    plain = replace(glasses, kind=RowKind("table", glasses.kind.features))
    assert duplicates(plain).tolist() == same_numbers(glasses.inputs).tolist()


@given(arrays(np.float64, (12, 3), elements=st.sampled_from([0.2, 0.2 + 4e-7, 0.2 + 9e-7, 0.2 + 3e-6, 0.5])))
@settings(deadline=None, max_examples=30)
def test_rounding_joins_what_a_slow_search_joins(shares):
    near = np.abs(shares[:, None] - shares[None]).max(-1) <= 1e-6
    names = np.arange(len(shares))
    for _ in shares:
        names = np.array([names[row].min() for row in near])  # everyone takes the least name in reach
    found = within_rounding(shares)
    assert (found[:, None] == found[None]).tolist() == (names[:, None] == names[None]).tolist()
