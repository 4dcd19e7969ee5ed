"""CIF text for the tests: a cell, what is said of its symmetry, sites."""

from __future__ import annotations

from matcard.crystals.cif import read_cif
from matcard.crystals.crystals import Crystal
from matcard.crystals.validate import checked

NAMES = (
    "_cell_length_a",
    "_cell_length_b",
    "_cell_length_c",
    "_cell_angle_alpha",
    "_cell_angle_beta",
    "_cell_angle_gamma",
)
SITE = ("_atom_site_label", "_atom_site_type_symbol", *(f"_atom_site_fract_{k}" for k in "xyz"), "_atom_site_occupancy")


def loop(names, rows):
    """A loop of some names."""
    return "\n".join(["loop_", *names, *(" ".join(map(str, row)) for row in rows)]) + "\n"


def operations(texts, name="_space_group_symop_operation_xyz"):
    """A loop of operations."""
    return loop([name], [[f"'{text}'"] for text in texts])


def cif(cell, sites, *said, name="x", site=SITE):
    """A block: six cell parameters; label, type, x, y, z and occupancy of each site; further items between them."""
    parameters = "".join(f"{key} {value}\n" for key, value in zip(NAMES, cell, strict=True))
    items = "".join(item if item.endswith("\n") else item + "\n" for item in said)
    return f"data_{name}\n{parameters}{items}{loop(site, sites)}"


def cubic(a):
    """The parameters of a cubic cell."""
    return (a, a, a, 90, 90, 90)


def site(label, *xyz, kind=None, occupancy=1):
    """A row of a loop of sites."""
    return (label, kind or label.rstrip("0123456789"), *xyz, occupancy)


SALT = [site("K1", 0, 0, 0), site("Br1", 0.5, 0.5, 0.5)]
"""KBr in F m -3 m."""
SKEW = (5.1, 6.2, 7.3, 82, 95, 101)
PAIR = [site("Li1", 0.11, 0.22, 0.34), site("F1", 0.62, 0.47, 0.85)]
"""Two sites on general positions."""


def read(text, **options):
    """The crystals of a CIF, checked as those of every source are."""
    found = read_cif(text, **options)
    faults = checked(found).faults
    return [
        one if fault is None else Crystal(fault=fault, name=one.name) for one, fault in zip(found, faults, strict=True)
    ]
