"""Groups against plain searches over their operations."""

from __future__ import annotations

import itertools

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.crystals.cif_cell import Cell, Listed
from matcard.errors import StructureError
from matcard.symmetry import (
    DEN,
    group_of,
    groups_of_hall,
    settings_of,
    settings_of_number,
)

TABLE = list(gemmi.spacegroup_table())
SMALL = [setting for setting in TABLE if len(setting.operations()) <= 24]


def texts_of(setting):
    """The operations of an entry of the table, as text."""
    return tuple(operation.wrap().triplet() for operation in setting.operations())


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(SMALL), st.data())
def test_a_list_with_gaps_is_no_group(setting, data):
    """A list is taken exactly where all products of two of it are in it."""
    texts = data.draw(
        st.lists(st.sampled_from(texts_of(setting)), min_size=1, max_size=len(texts_of(setting)), unique=True)
    )
    products = {(gemmi.Op(a) * gemmi.Op(b)).wrap().triplet() for a, b in itertools.product(texts, texts)}
    if products <= set(texts):
        assert set(group_of(tuple(texts)).texts) == set(texts)
    else:
        with pytest.raises(StructureError, match="follows from them and is not listed"):
            group_of(tuple(texts))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(TABLE), st.integers(0, 2**32 - 1))
def test_a_cell_is_kept_if_every_operation_keeps_it(setting, seed):
    rng = np.random.default_rng(seed)
    group = group_of(texts_of(setting))
    shear = np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))
    metric = np.mean([r.T @ (shear @ shear.T) @ r for r in group.rotations], axis=0)
    assert group.that_breaks(np.linalg.cholesky(metric)) is None
    lattice = np.linalg.cholesky(shear @ shear.T)
    metric = lattice @ lattice.T
    broken = group.that_breaks(lattice)
    changes = [np.abs(r.T @ metric @ r - metric).max() for r in group.rotations]
    if broken is not None:
        assert changes[group.texts.index(broken)] > 0
    elif len(group) > 1:
        assert max(changes) < 0.3


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(TABLE), st.integers(0, 2**32 - 1))
def test_sites_are_those_of_a_plain_search(setting, seed):
    rng = np.random.default_rng(seed)
    group = group_of(texts_of(setting))
    xyz = np.where(rng.uniform(size=3) < 0.6, rng.choice([0, 1 / 8, 1 / 4, 1 / 3, 1 / 2], 3), rng.uniform(size=3))
    metric = np.mean([r.T @ np.diag([300.0, 350.0, 400.0]) @ r for r in group.rotations], axis=0)
    places = []
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        image = rotation @ xyz + translation / DEN
        if not any(np.abs(image - place - np.round(image - place)).max() < 1e-6 for place in places):
            places.append(image)
    try:
        listed = Listed(["X"], [1], xyz[None], [["0.000000001"]] * 3, [])
        counts, frac_coords = Cell(np.linalg.cholesky(metric), listed, None, None, False).copies(group)
    except StructureError:  # a site that is drawn may be close to its copies
        apart = [np.abs(a - b - np.round(a - b)).max() for a, b in itertools.combinations(places, 2)]
        assert min(apart) < 0.1
        return
    assert counts == [len(places)]
    apart = np.abs((gap := frac_coords[:, None] - np.array(places)) - np.round(gap)).max(axis=2)
    assert apart.min(axis=1).max() < 1e-9
    assert len(set(apart.argmin(axis=1).tolist())) == len(places)


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("Pnma", ["P n m a"]),
        ("P2(1)/c", ["P 1 21/c 1"]),
        ("P 6_3/m m c", ["P 63/m m c"]),
        ("C m c e", ["C m c a"]),
        ("C 1 2/n 1:-b2", ["C 1 2/n 1"]),
        ("F d -3 m", ["F d -3 m:1", "F d -3 m:2"]),
        ("R 3 c", ["R 3 c:H", "R 3 c:R"]),
        ("C -1", ["C -1"]),
        ("H-3m", ["R -3 m:H"]),
        ("", []),
        ("Q 4", []),
        ("P 1:x", []),
    ],
)
def test_symbols(symbol, expected):
    assert [group.name for group in settings_of(symbol)] == expected


def test_numbers_and_hall_symbols():
    assert [group.name for group in settings_of_number(227)] == ["F d -3 m:1", "F d -3 m:2"]
    assert [group.name for group in settings_of_number(14, "c2")] == ["P 1 1 21/n"]
    assert settings_of_number(0) == settings_of_number(231) == settings_of_number(14, "x") == ()
    assert [group.name for group in groups_of_hall("-P 2yn")] == ["P 1 21/n 1"]
    assert groups_of_hall("nonsense") == ()


def test_a_group_in_no_tabulated_setting_has_its_number():
    assert group_of(("x,y,z", "-x+1/4,-y,-z")).number == 2
    assert group_of(("x,y,z", "-x+1/4,-y,-z")).name == "space group 2"
