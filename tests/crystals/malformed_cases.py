"""A structure in each of the ways in which the tests of malformed input spoil it."""

from __future__ import annotations

CUBE = [4.0, 4.0, 4.0, 90.0, 90.0, 90.0]
GOOD = {"lattice": CUBE, "species": ["Na", "Cl"], "frac_coords": [0, 0, 0, 0.5, 0.5, 0.5]}

CIF = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 1
"""

POSCAR = "c\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
