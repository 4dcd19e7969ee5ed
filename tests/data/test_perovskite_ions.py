from __future__ import annotations

import itertools

import numpy as np
import pytest
from pymatgen.core.periodic_table import Element, Species

from matcard.data.perovskites import A_IONS, B_IONS, X_IONS, enumerate_compositions, shannon_radius


@pytest.mark.parametrize(
    ("symbol", "charge", "neighbours", "radius"),
    [
        ("Sr", 2, 12, 1.44),
        ("La", 3, 12, 1.36),
        ("Ti", 4, 6, 0.605),
        ("Fe", 3, 6, 0.645),  # high spin; low spin is 0.55
        ("Co", 2, 6, 0.745),
        ("Nb", 5, 6, 0.64),
        ("O", -2, 6, 1.40),
        ("I", -1, 6, 2.20),
        ("Y", 3, 12, 1.075 + 3 * 0.04),  # listed for nine neighbours at most
        ("Ag", 1, 12, 1.28 + 4 * 0.04),  # for eight
    ],
)
def test_radii_are_those_of_shannon(symbol, charge, neighbours, radius):
    assert shannon_radius(symbol, charge, neighbours) == pytest.approx(radius, abs=1e-9)


def test_the_extrapolation_grows_as_the_ions_that_have_both_entries():
    steps = []
    for charge, symbols in A_IONS.items():
        for symbol in symbols:
            if {"VIII", "XII"} <= Element(symbol).data["Shannon radii"][str(charge)].keys():
                ion = Species(symbol, charge)
                steps.append((ion.get_shannon_radius("XII") - ion.get_shannon_radius("VIII")) / 4)
    assert len(steps) > 8
    assert np.mean(steps) == pytest.approx(0.04, abs=0.005)


def test_every_composition_is_neutral_in_one_way_and_has_the_radii_of_its_ions():
    compositions = enumerate_compositions()
    factors = zip(compositions.tolerance_factor, compositions.octahedral_factor, strict=True)
    for (a, b, x), z, radii, (t, mu) in zip(
        compositions.symbols, compositions.numbers, compositions.radii, factors, strict=True
    ):
        ((qa, qb, qx),) = (
            charges
            for charges in itertools.product(A_IONS, B_IONS, X_IONS)
            if a in A_IONS[charges[0]] and b in B_IONS[charges[1]] and x in X_IONS[charges[2]]
            if charges[0] + charges[1] + 3 * charges[2] == 0
        )
        expected = [shannon_radius(a, qa, 12), shannon_radius(b, qb, 6), shannon_radius(x, qx, 6)]
        assert radii.tolist() == expected
        assert [Element(s).Z for s in (a, b, x)] == z.tolist()
        assert t == pytest.approx((radii[0] + radii[2]) / (2**0.5 * (radii[1] + radii[2])))
        assert mu == pytest.approx(radii[1] / radii[2])


def test_compositions_are_many_distinct_and_where_perovskites_are():
    compositions = enumerate_compositions()
    assert len(set(compositions.formulas)) == len(compositions.formulas) > 500
    assert {"SrTiO3", "BaTiO3", "LaFeO3", "GdFeO3", "CsPbI3", "KMgF3", "BaZrS3"} <= set(compositions.formulas)
    t = compositions.tolerance_factor
    assert 0.8 < t.min() < 0.85
    assert 1.05 < t.max() < 1.15
    assert t[compositions.formulas.index("SrTiO3")] == pytest.approx(1.002, abs=5e-4)
