"""Crystals in all settings of spglib's table of Hall symbols, written as CIF in many ways and read back."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import gemmi
import numpy as np
import pytest
import spglib
from cif_texts import cif, operations, read, site
from hypothesis import given, settings
from hypothesis import strategies as st

ELEMENTS = ("Sr", "Ti", "O", "F")
HALLS = range(1, 531)


class Made(NamedTuple):
    """A crystal of a setting: its operations, its cell, the sites that are listed, and all sites."""

    kind: object
    rotations: np.ndarray
    translations: np.ndarray
    cell: np.ndarray
    lattice: np.ndarray
    listed: list
    every: list


def setting(hall):
    """What spglib says of a setting, and its operations."""
    with warnings.catch_warnings():  # that failures will be exceptions
        warnings.simplefilter("ignore", DeprecationWarning)
        return spglib.get_spacegroup_type(hall), spglib.get_symmetry_from_database(hall)


def make(hall, seed):
    """A crystal with some sites on special positions, all of its atoms found by a plain search."""
    rng = np.random.default_rng((hall, seed))
    kind, found = setting(hall)
    rotations, translations = found["rotations"], found["translations"]
    shear = np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3))
    metric = np.mean([r.T @ (shear @ shear.T) @ r for r in rotations], axis=0)
    number = int(rng.integers(1, 4))
    listed = []
    for element in ELEMENTS[:number]:
        xyz = np.where(rng.uniform(size=3) < 0.5, rng.choice([0, 1 / 4, 1 / 2, 1 / 3, 1 / 8], 3), rng.uniform(size=3))
        listed.append((element, xyz.round(5)))
    every = []
    for element, xyz in listed:
        places = np.zeros((0, 3))
        for image in rotations @ xyz + translations:
            apart = places - image
            if not (np.abs(apart - np.round(apart)).max(axis=1) < 1e-4).any():
                places = np.vstack([places, image])
        every += [(element, place % 1.0) for place in places]
    volume = np.sqrt(np.linalg.det(metric))
    metric *= (40.0 * len(every) / volume) ** (2 / 3)
    lengths = np.sqrt(np.diag(metric))
    cosines = metric / np.outer(lengths, lengths)
    cell = np.array([*lengths, *np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))])
    return Made(kind, rotations, translations, cell, metric, listed, every)


def is_apart(made, least=0.8):
    """Whether all atoms are apart: sites that are drawn may lie on one another."""
    xyz = np.array([p for _, p in made.every])
    apart = xyz[:, None] - xyz
    apart -= np.round(apart)
    squared = np.einsum("abi,ij,abj->ab", apart, made.lattice, apart)
    np.fill_diagonal(squared, np.inf)
    return squared.min() > least**2


def as_xyz(rotation, translation):
    """An operation as it is written."""
    parts = []
    for row, shift in zip(rotation, translation, strict=True):
        part = "".join(f"{'-' if n < 0 else '+'}{axis}" for n, axis in zip(row, "xyz", strict=True) if n)
        twelfths = round(shift * 24)
        parts.append(part.lstrip("+") + (f"+{twelfths}/24" if twelfths else ""))
    return ",".join(parts)


def written(made, how):
    """The CIF of a crystal, in one of the ways in which its symmetry may be given."""
    kind, sites, said = made.kind, [(e, xyz) for e, xyz in made.listed], []
    triplets = [as_xyz(*pair) for pair in zip(made.rotations, made.translations, strict=True)]
    code = f":{kind.choice}" if kind.choice else ""
    entry = gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(triplet) for triplet in triplets]))
    if how == "P1":
        sites, said = made.every, ["_symmetry_space_group_name_H-M 'P 1'"]
    elif how == "full symbol and code":
        said = [f"_space_group_name_H-M_alt '{kind.international_full}{code}'"]
    elif how == "symbol":
        said = [f"_space_group_name_H-M_alt '{entry.xhm()}'"]
    elif how == "Hall symbol":
        said = [f"_space_group_name_Hall '{kind.hall_symbol}'"]
    elif how == "number and code":
        said = [f"_space_group_IT_number {kind.number}"]
        said += [f"_space_group_IT_coordinate_system_code {kind.choice}"] if kind.choice else []
    else:
        said = [operations(triplets), f"_symmetry_Int_Tables_number {kind.number}"]
        said += (
            [f"_symmetry_space_group_name_H-M '{kind.international_full}'"] if how == "operations and symbol" else []
        )
    digits = {"rounded": 4, "of three digits": 3}.get(how, 6)
    rows = [site(f"{e}{i}", *(f"{x:.{digits}f}" for x in xyz), kind=e) for i, (e, xyz) in enumerate(sites)]
    counts = {element: sum(e == element for e, _ in made.every) for element, _ in made.every}
    formula = " ".join(f"{element}{count}" for element, count in counts.items())
    said.append(f"_chemical_formula_sum '{formula}'\n_cell_formula_units_Z 1")
    return cif([f"{value:.6f}" for value in made.cell], rows, *said)


WAYS = (
    "operations",
    "operations and symbol",
    "rounded",
    "of three digits",
    "P1",
    "full symbol and code",
    "symbol",
    "Hall symbol",
    "number and code",
)


def check(made, how):
    """The CIF is read as the crystal that was written."""
    (crystal,) = read(written(made, how))
    assert (crystal.fault, crystal.doubts) == (None, ()), (made.kind, how)
    assert len(crystal.numbers) == len(made.every)
    np.testing.assert_allclose(crystal.lattice @ crystal.lattice.T, made.lattice, rtol=1e-4, atol=1e-4)
    xyz = np.array([p for _, p in made.every])
    expected = np.array([{"Sr": 38, "Ti": 22, "O": 8, "F": 9}[e] for e, _ in made.every])
    apart = crystal.frac_coords[:, None] - xyz
    apart = np.abs(apart - np.round(apart)).max(axis=2)
    within = {"rounded": 2e-4, "of three digits": 2e-3}.get(how, 2e-5)
    partner = apart.argmin(axis=1)
    assert apart.min(axis=1).max() < within
    assert len(set(partner.tolist())) == len(made.every)
    np.testing.assert_array_equal(crystal.numbers, expected[partner])


@pytest.mark.parametrize("start", range(1, 531, 53))
def test_every_setting_in_every_way(start):
    for hall in range(start, start + 53):
        made = next(made for seed in range(100) if is_apart(made := make(hall, seed)))
        for how in WAYS:
            check(made, how)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(HALLS), st.integers(1000, 2**32), st.sampled_from(WAYS))
def test_any_crystal_of_any_setting(hall, seed, how):
    made = make(hall, seed)
    if is_apart(made):
        check(made, how)
