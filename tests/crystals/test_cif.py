"""What a CIF may hold, what leaves it out, and what is told of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.data import chemical_symbols
from cif_texts import PAIR, SALT, SKEW, cif, cubic, loop, operations, read, site

P1 = "_symmetry_space_group_name_H-M 'P 1'"
FACES = ("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "x+1/2,y+1/2,z")


def only(text, **options):
    """The one crystal of a CIF."""
    (crystal,) = read(text, **options)
    return crystal


def atoms(text, **options):
    """How many atoms of each element it holds; it must have neither fault nor doubt."""
    crystal = only(text, **options)
    assert crystal.fault is None
    assert crystal.doubts == ()
    return dict(Counter(chemical_symbols[number] for number in crystal.numbers))


def fault(text, **options):
    """Why it is left out."""
    crystal = only(text, **options)
    assert crystal.fault is not None
    assert crystal.frac_coords.shape == (0, 3)
    return crystal.fault


def doubt(text):
    """What is told of it though it is read."""
    crystal = only(text)
    assert crystal.fault is None
    return "; ".join(crystal.doubts)


class TestSettings:
    """A symbol without operations is read in its setting."""

    @pytest.mark.parametrize(
        "symbol", ["F d -3 m :2", "Fd-3mZ", "F d -3 m Z", "F 41/d -3 2/m :2", "Fd-3m (origin at -1)"]
    )
    def test_origin_at_the_centre(self, symbol):
        text = cif(cubic(3.567), [site("C1", 0.125, 0.125, 0.125)], f"_space_group_name_H-M_alt '{symbol}'")
        assert atoms(text) == {"C": 8}

    @pytest.mark.parametrize("symbol", ["F d -3 m :1", "F d -3 m S", "Fd-3mS"])
    def test_the_other_origin(self, symbol):
        text = cif(cubic(3.567), [site("C1", 0, 0, 0)], f"_symmetry_space_group_name_H-M '{symbol}'")
        assert atoms(text) == {"C": 8}

    def test_the_setting_in_a_code_of_its_own(self):
        said = "_space_group_IT_number 227", "_space_group_IT_coordinate_system_code 2"
        assert atoms(cif(cubic(3.567), [site("C1", 0.125, 0.125, 0.125)], *said)) == {"C": 8}

    @pytest.mark.parametrize("symbol", ["R -3 m :R", "R -3 m R", "R-3m", "R -3 2/m"])
    def test_rhombohedral_axes(self, symbol):
        text = cif(
            (4.5, 4.5, 4.5, 57, 57, 57),
            [site("Sb1", 0.2335, 0.2335, 0.2335)],
            f"_symmetry_space_group_name_H-M '{symbol}'",
        )
        assert atoms(text) == {"Sb": 2}

    @pytest.mark.parametrize("symbol", ["R -3 m :H", "R -3 m H", "R -3 m HR", "R3mR", "H-3m"])
    def test_hexagonal_axes(self, symbol):
        text = cif(
            (4.3, 4.3, 11.2, 90, 90, 120), [site("Sb1", 0, 0, 0.2335)], f"_symmetry_space_group_name_H-M '{symbol}'"
        )
        if symbol == "R3mR":
            assert "does not keep the lengths and angles" in fault(text)
        else:
            assert atoms(text) == {"Sb": 6}

    def test_a_group_by_its_number_and_by_its_hall_symbol(self):
        assert atoms(cif(cubic(6.6), SALT, "_symmetry_Int_Tables_number 225")) == {"K": 4, "Br": 4}
        assert atoms(cif(cubic(6.6), SALT, "_space_group_name_Hall '-F 4 2 3'")) == {"K": 4, "Br": 4}

    def test_two_origins_of_which_one_fits_the_formula(self):
        said = "_symmetry_space_group_name_H-M 'F d -3 m'", "_chemical_formula_sum 'Ge'", "_cell_formula_units_Z 8"
        assert atoms(cif(cubic(5.66), [site("Ge1", 0.125, 0.125, 0.125)], *said)) == {"Ge": 8}
        assert atoms(cif(cubic(5.66), [site("Ge1", 0, 0, 0)], *said)) == {"Ge": 8}

    def test_two_origins_of_which_one_fits_the_multiplicity(self):
        text = cif(cubic(5.66), [(*site("Ge1", 0.125, 0.125, 0.125), 8)], "_symmetry_space_group_name_H-M 'F d -3 m'")
        text = text.replace("_atom_site_occupancy\n", "_atom_site_occupancy\n_atom_site_symmetry_multiplicity\n")
        assert atoms(text) == {"Ge": 8}

    def test_two_origins_that_both_fit(self):
        said = fault(cif(cubic(9.2), [site("Ge1", 0.125, 0.125, 0.125)], "_symmetry_space_group_name_H-M 'F d -3 m'"))
        assert "_symmetry_space_group_name_H-M = F d -3 m has several settings" in said
        assert "write F d -3 m:1 or F d -3 m:2" in said

    def test_two_origins_of_which_none_fits(self):
        said = "_symmetry_space_group_name_H-M 'F d -3 m'", "_chemical_formula_sum 'Ge'", "_cell_formula_units_Z 3"
        assert "more than Z = 3" in fault(cif(cubic(5.66), [site("Ge1", 0, 0, 0)], *said))

    def test_an_unknown_symbol_is_not_p1(self):
        assert fault(cif(cubic(5), SALT, "_symmetry_space_group_name_H-M 'F d -3 z'")) == (
            "the symmetry _symmetry_space_group_name_H-M = F d -3 z is not understood; write its operations, or P1"
        )

    def test_names_that_do_not_agree(self):
        said = "_symmetry_space_group_name_H-M 'F m -3 m'", "_symmetry_Int_Tables_number 221"
        assert "F m -3 m and _symmetry_Int_Tables_number = 221 do not agree" in fault(cif(cubic(6.6), SALT, *said))

    def test_a_symbol_that_the_cell_does_not_fit(self):
        said = fault(cif((6, 6, 7, 90, 90, 90), SALT, "_symmetry_space_group_name_H-M 'P m -3 m'"))
        assert "does not keep the lengths and angles of the cell" in said

    @pytest.mark.parametrize("cell", [(5.64, 5.64, 5.68, 90, 90, 90), (5.64, 5.64, 5.64, 90, 90, 90.4)])
    def test_a_cell_a_little_off_its_symbol(self, cell):
        symbol = "_symmetry_space_group_name_H-M 'F m -3 m'"
        assert "does not keep the lengths and angles of the cell" in fault(cif(cell, SALT, symbol))


class TestOperations:
    """Operations that are listed are held against all else that is said."""

    def test_with_the_symbol_of_another_group_that_fills_the_cell_alike(self):
        assert atoms(cif(cubic(6.6), SALT, "_space_group_name_H-M_alt 'F m -3 m'", operations(FACES))) == {
            "K": 4,
            "Br": 4,
        }

    def test_the_identity_beside_another_symbol(self):
        said = "_symmetry_space_group_name_H-M Fm-3m", "_cell_formula_units_Z 4", operations(["x, y, z"])
        assert fault(cif(cubic(6.6), SALT, *said, "_chemical_formula_sum 'K4 Br4'")) == (
            "the operations listed (1, P 1) are not those of _symmetry_space_group_name_H-M = Fm-3m (192); write all "
            "of them, or P1 and all atoms"
        )
        assert "are not those of" in fault(cif(cubic(6.6), SALT, *said, "_chemical_formula_sum 'K Br'"))
        assert "are not those of" in fault(cif(cubic(6.6), SALT, *said))

    def test_the_identity_beside_another_symbol_where_all_atoms_are_listed(self):
        every = [site(f"K{i}", *p) for i, p in enumerate([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])]
        every += [site(f"Br{i}", *p) for i, p in enumerate([(0.5, 0.5, 0.5), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)])]
        said = "_symmetry_space_group_name_H-M Fm-3m", operations(["x, y, z"])
        assert atoms(cif(cubic(6.6), every, *said)) == {"K": 4, "Br": 4}
        moved = [site("K0", 0, 0.03, 0), *every[1:]]
        assert "are not those of" in fault(cif(cubic(6.6), moved, *said))
        formula = "_chemical_formula_sum 'K Br'", "_cell_formula_units_Z 4"
        assert "not those of" in doubt(cif(cubic(6.6), moved, *said, *formula))
        assert only(cif(cubic(6.6), moved, *said, *formula)).frac_coords.shape == (8, 3)

    @pytest.mark.parametrize(
        ("texts", "reason"),
        [
            (["x, y, z", "x, x, z"], "the operation 'x, x, z' is none: it does not keep the volume"),
            (["x, y, z", "2*x, y, z"], "it does not keep the volume"),
            (["x, y, z", "-x, -y"], "it has no three parts of x, y, z"),
            (["x, y, z", "a, b, c"], "'a, b, c' is none"),
            (["x, y, z", "-x, -y, -z", "-x, y, -z"], "no group: x,-y,z follows from them and is not listed"),
            (["-x, -y, -z"], "no group: x,y,z follows"),
            (["x, y, z", "y, x, -z"], "the operation y,x,-z does not keep the lengths and angles of the cell"),
        ],
    )
    def test_no_operations(self, texts, reason):
        assert reason in fault(cif((5, 6, 7, 90, 90, 90), PAIR, operations(texts)))

    @pytest.mark.parametrize("name", ["_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz"])
    def test_without_quotes(self, name):
        text = cif(cubic(4.3), SALT, f"loop_\n{name}\nx, y, z")
        assert fault(text).endswith("put quotes around x, y, z")
        text = cif(SKEW, PAIR, f"loop_\n_symmetry_equiv_pos_site_id\n{name}\n1 x, y, z\n2 -x, -y, -z")
        assert fault(text).endswith("put quotes around x, y, z")

    def test_not_those_of_the_symbol(self):
        said = "_symmetry_space_group_name_H-M 'P 21/c'", operations(["x,y,z", "-x,-y,-z"])
        reason = fault(cif((5, 6, 7, 90, 97, 90), PAIR, *said))
        assert "the operations listed (2, P -1) are not those of _symmetry_space_group_name_H-M = P 21/c (4)" in reason

    @pytest.mark.parametrize(
        "text", ["1/2-x,1/2+y,-z+1/2", "-x+1/2, y+1/2, 1/2-z", "0.5-X,+.5+Y,.5-Z", "1/2 - x, y + 1/2, - z + 1/2"]
    )
    def test_fractions_before_and_behind_the_axes(self, text):
        crystal = only(cif((5, 6, 7, 90, 90, 90), PAIR, operations(["x,y,z", text])))
        assert crystal.fault is None
        np.testing.assert_allclose(crystal.frac_coords[1], [0.39, 0.72, 0.16], atol=1e-9)

    def test_two_lists_that_differ(self):
        said = operations(["x,y,z", "-x,-y,-z"]), operations(["x,y,z"], "_symmetry_equiv_pos_as_xyz")
        assert "list different operations; delete one" in fault(cif(SKEW, PAIR, *said))

    def test_an_empty_list(self):
        assert "lists no operation" in fault(cif(SKEW, PAIR, "loop_\n_symmetry_equiv_pos_as_xyz"))

    def test_a_choice_of_origin_that_no_table_has(self):
        said = "_symmetry_space_group_name_H-M 'P -1'", operations(["x,y,z", "-x+1/4,-y,-z+1/3"])
        assert atoms(cif(SKEW, PAIR, *said)) == {"Li": 2, "F": 2}

    def test_names_in_other_spellings(self):
        said = (
            "_Space_Group.IT_number 225",
            loop(["_space_group_symop.id", "_space_group_symop.operation_xyz"], enumerate(map(repr, FACES), 1)),
        )
        assert atoms(cif(cubic(6.6), SALT, *said)) == {"K": 4, "Br": 4}
        upper = cif(SKEW, PAIR, P1).replace("_atom_site_fract", "_ATOM_SITE_Fract")
        assert atoms(upper) == {"Li": 1, "F": 1}

    @pytest.mark.parametrize("name", ["_symmetry_equiv_position_as_xyz", "_space_group_symop_operation", "_symop_xyz"])
    def test_names_that_are_not_understood_are_not_p1(self, name):
        assert f"the symmetry {name} is not understood" in fault(cif(SKEW, PAIR, operations(FACES, name)))

    def test_nothing_said_is_p1(self):
        said = "_symmetry_cell_setting triclinic", "_symmetry_space_group_name_ 'P 1'"
        assert atoms(cif(SKEW, PAIR)) == atoms(cif(SKEW, PAIR, *said)) == {"Li": 1, "F": 1}


class TestMagnetic:
    """Magnetic structures are read without what they say of time and moments."""

    MOMENTS = loop(["_atom_site_moment_label", "_atom_site_moment_crystalaxis_z"], [["K1", 1.8]])

    def test_ordinary_operations(self):
        assert atoms(cif(cubic(6.6), SALT, operations(FACES), self.MOMENTS)) == {"K": 4, "Br": 4}

    @pytest.mark.parametrize("dot", [".", "_"])
    def test_magnetic_operations_and_centerings(self, dot):
        said = (
            f"_space_group_magn{dot}number_BNS 2.7",
            operations(["x,y,z,+1", "-x,-y,-z,-1"], f"_space_group_symop_magn_operation{dot}xyz"),
            operations(["x,y,z,+1", "x+1/2,y+1/2,z,-1"], f"_space_group_symop{dot}magn_centering_xyz"),
        )
        assert atoms(cif(SKEW, PAIR, *said, self.MOMENTS)) == {"Li": 4, "F": 4}

    def test_magnetic_centerings_under_a_name_that_is_not_understood(self):
        said = (
            operations(["x,y,z,+1", "-x,-y,-z,-1"], "_space_group_symop_magn_operation_xyz"),
            operations(["x,y,z,+1", "x+1/2,y+1/2,z,-1"], "_space_group_symop_magn_centring_xyz"),
        )
        reason = "the symmetry _space_group_symop_magn_centring_xyz is not understood, beside magnetic operations"
        assert reason in fault(cif(SKEW, PAIR, *said))

    def test_a_magnetic_group_by_its_name_alone(self):
        assert "is not understood" in fault(cif(SKEW, PAIR, '_space_group_magn.name_BNS "P -1\'"', self.MOMENTS))

    @pytest.mark.parametrize(
        "item", ["_cell_modulation_dimension 1", "_cell_wave_vector_x 0.3", "_space_group_ssg_name 'P-1(abg)0'"]
    )
    def test_modulated(self, item):
        assert "is modulated" in fault(cif(SKEW, PAIR, P1, item))

    def test_a_modulation_of_no_dimension(self):
        assert atoms(cif(SKEW, PAIR, P1, "_cell_modulation_dimension 0")) == {"Li": 1, "F": 1}


class TestText:
    """What text as such may hold."""

    def test_dashes_are_minus(self):
        assert atoms(cif(SKEW, PAIR, operations(["x,y,z", "\u2212x,\u2013y,\u2212z"]))) == {"Li": 2, "F": 2}
        text = cif(SKEW, [site("Li1", "\u22120.11", 0.22, "\u20130.34"), PAIR[1]], P1)
        np.testing.assert_allclose(only(text).frac_coords[0], [0.89, 0.22, 0.66])

    def test_blanks_that_are_none(self):
        assert atoms(cif(SKEW, [site("Li1", "0.11\u00a0", "0.22\u2009", 0.34), PAIR[1]], P1)) == {"Li": 1, "F": 1}

    def test_a_half_sign(self):
        said = fault(cif((5, 6, 7, 90, 95, 90), PAIR, operations(["x,y,z", "-x,\u00bd+y,-z"])))
        assert said == "the operation '-x,\u00bd+y,-z' has the character '\u00bd'; write it in ASCII, as in 1/2+x"
        said = fault(cif(SKEW, [site("Li1", "\u00bc", 0, 0)], P1))
        assert (
            said == "the coordinate x of atom site 1 (Li1) is '\u00bc', with the character '\u00bc'; write it in ASCII"
        )

    def test_letters_that_are_not_used(self):
        assert atoms("# Andr\u00e9\n" + cif(SKEW, PAIR, P1, "_publ_author M\u00fcller", "_x '\u00c5'")) == {
            "Li": 1,
            "F": 1,
        }

    @pytest.mark.parametrize("mark", ["\ufeff", "\f", "\x1a"])
    def test_marks_of_editors(self, mark):
        text = cif(SKEW, PAIR, P1)
        assert atoms(mark + text) == atoms(text + mark) == {"Li": 1, "F": 1}

    def test_lists_of_cif2(self):
        text = "#\\#CIF_2.0\n" + cif(SKEW, PAIR, P1, "_x [1 2 [3 4]]", "_y {'a':1 'b':2}")
        assert atoms(text) == {"Li": 1, "F": 1}

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_ends_of_lines(self, end):
        assert atoms(cif(SKEW, PAIR, P1).replace("\n", end)) == {"Li": 1, "F": 1}

    def test_a_name_given_twice(self):
        text = cif((8, 9, 10, 90, 90, 90), PAIR, P1, "_cell_length_a {}")
        assert fault(text.format(4)) == "_cell_length_a stands twice, 8 and 4; delete one"
        assert atoms(text.format("8.0")) == atoms(text.format("?")) == {"Li": 1, "F": 1}
        assert atoms(cif(SKEW, PAIR, P1, "_x 1", "_x 2")) == {"Li": 1, "F": 1}
        twice = cif(SKEW, PAIR, P1) + loop(["_atom_site_fract_x"], [[0.1], [0.2]])
        assert fault(twice) == "_atom_site_fract_x stands in two lists that differ; delete one"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (cif(SKEW, PAIR, P1)[:-4], "damaged at line 9, 'loop_': a loop has a row with too few or too many values"),
            (cif(SKEW, PAIR, "_x 'open"), "damaged at line 8, \"_x 'open\": unterminated 'string'"),
            (cif(SKEW, PAIR, "_x\n;\nopen"), "unterminated text field"),
            ("this is no CIF", "nothing but comments may stand before its first data_ line"),
            (cif(SKEW, PAIR).removeprefix("data_x\n"), "nothing but comments may stand before"),
            ("", "the CIF is empty; copy or export it again"),
            ("# a comment\n\n", "the CIF is empty"),
            ("data_x\n_cell_length_a 4\n", "no atom sites in fractional coordinates"),
            (cif(SKEW, PAIR).encode("utf-16").decode("utf-8", "replace"), "not UTF-8 text; save it as UTF-8"),
        ],
    )
    def test_text_that_cannot_be_read(self, text, reason):
        assert reason in fault(text)


class TestBlocks:
    def test_each_block_is_a_crystal(self):
        first, second = read(cif(SKEW, PAIR, P1, name="one") + cif(cubic(6.6), SALT, name="two"))
        assert (first.name, second.name) == ("one", "two")
        assert len(first.numbers) == len(second.numbers) == 2

    def test_blocks_without_sites_or_cell_are_passed_over(self):
        others = "data_global\n_journal_name 'x'\n_cell_length_a 3\n", "data_y\nloop_\n_atom_site_fract_x\n0.5\n"
        assert only(others[0] + cif(SKEW, PAIR, P1) + others[1]).name == "x"

    def test_a_block_at_fault_does_not_spoil_the_next(self):
        first, second = read(cif(SKEW, [site("Li1", "?", 0, 0)]) + cif(SKEW, PAIR, name="y"))
        assert first.fault == "atom site 1 (Li1) has no coordinate x; complete or delete it"
        assert second.fault is None

    def test_sites_without_a_cell(self):
        assert "the CIF has no cell" in fault("data_x\n" + loop(["_atom_site_label", *SITES], [["Li1", 0, 0, 0]]))


SITES = tuple(f"_atom_site_fract_{k}" for k in "xyz")


class TestCell:
    @pytest.mark.parametrize("cell", [SKEW, (4.0, 5.0, 6.0, 90, 90, 120), ("4.05(2)", 5, "6.1(10)", 60, 60, 60)])
    def test_the_lattice_is_that_of_pymatgen(self, cell):
        from pymatgen.core import Lattice

        expected = Lattice.from_parameters(*(float(str(value).split("(")[0]) for value in cell))
        np.testing.assert_allclose(only(cif(cell, PAIR, P1)).lattice, expected.matrix, atol=1e-9)

    @pytest.mark.parametrize(
        ("place", "value", "reason"),
        [
            (0, 0, "zero-volume cell: a b c alpha beta gamma = 0 6.2 7.3 82 95 101; correct _cell_length_*"),
            (3, 0, "zero-volume cell"),
            (5, 180, "zero-volume cell"),
            (1, "?", "_cell_length_b is missing or empty"),
            (1, "''", "_cell_length_b is missing or empty"),
            (2, "abc", "_cell_length_c is 'abc', which is no number"),
            (2, "4,05", "_cell_length_c is '4,05', with a comma; write 4.05"),
            (2, "-4", "_cell_length_c is '-4', which is no length or angle"),
        ],
    )
    def test_bad_cells(self, place, value, reason):
        cell = list(SKEW)
        cell[place] = value
        assert reason in fault(cif(cell, PAIR, P1))


class TestSites:
    def test_numbers(self):
        text = cif(SKEW, [site("Li1", "1/3", "-2/3", "5.0E-1"), site("F1", ".25(3)", "1.", "+0.5")], P1)
        np.testing.assert_allclose(only(text).frac_coords, [[1 / 3, 1 / 3, 0.5], [0.25, 0, 0.5]], atol=1e-12)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (".", "atom site 1 (Li1) has no coordinate y"),
            ("0,25", "the coordinate y of atom site 1 (Li1) is '0,25', with a comma; write 0.25"),
            ("abc", "is 'abc', which is no number"),
            ("nan", "is 'nan', which is no number"),
            ("1/0", "is '1/0', which is no number"),
        ],
    )
    def test_bad_coordinates(self, value, reason):
        assert reason in fault(cif(SKEW, [site("Li1", 0.1, value, 0.2), PAIR[1]], P1))

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (0.5, "atom site 1 (Li1) is disordered (occupancy 0.5)"),
            ("0.97(2)", "is disordered (occupancy 0.97(2))"),
            (0, "has occupancy '0'; write 1 or delete the site"),
            (".", "has occupancy '.'"),
            (2, "has occupancy 2, which is impossible"),
            ("abc", "the occupancy of atom site 1 (Li1) is 'abc', which is no number"),
        ],
    )
    def test_bad_occupancies(self, value, reason):
        assert reason in fault(cif(SKEW, [site("Li1", 0.1, 0.2, 0.3, occupancy=value), PAIR[1]], P1))

    @pytest.mark.parametrize("value", ["1.0", "1.000(3)", "?", "0.9999"])
    def test_whole_occupancies(self, value):
        assert atoms(cif(SKEW, [site("Li1", 0.1, 0.2, 0.3, occupancy=value), PAIR[1]], P1)) == {"Li": 1, "F": 1}

    def test_sites_too_close(self):
        rows = [*PAIR, site("Li2", 0.11, 0.22, 0.36)]
        assert fault(cif(SKEW, rows, P1)) == (
            "atom site 1 (Li1) and atom site 3 (Li2) overlap, 0.146 angstrom apart (less than 0.5); delete "
            "one or correct the coordinates"
        )
        by_symmetry = [site("Li1", 0.11, 0.22, 0.34), site("F1", 0.89, 0.78, 0.64)]
        assert "atom site 1 (Li1) and atom site 2 (F1) overlap" in fault(
            cif(SKEW, by_symmetry, "_space_group_IT_number 2")
        )

    def test_columns_of_other_lengths(self):
        text = cif(SKEW, [row[:5] for row in PAIR], P1, site=["_atom_site_label", "_atom_site_type_symbol", *SITES])
        assert "differ in length" in fault(text + loop(["_atom_site_occupancy"], [[1]]))
        assert "_atom_site_fract_y, _atom_site_fract_z is missing" in fault(
            cif(SKEW, [["Li1", 0.1]], P1, site=["_atom_site_label", "_atom_site_fract_x"])
        )
        assert "neither _atom_site_type_symbol nor" in fault(cif(SKEW, [[0, 0, 0]], P1, site=SITES))

    def test_a_site_that_another_list_names(self):
        extra = loop(["_atom_site_aniso_label", "_atom_site_aniso_U_11"], [["Li1", 0.1], ["F2", 0.1]])
        assert fault(cif(SKEW, PAIR, P1) + extra) == (
            "_atom_site_aniso_label names F2, which has no atom site; complete the sites"
        )

    def test_hydrogen_without_a_site(self):
        text = cif(SKEW, [(*PAIR[0], 0), (*PAIR[1], 2)], P1).replace(
            "occupancy\n", "occupancy\n_atom_site_attached_hydrogens\n"
        )
        assert doubt(text) == "_atom_site_attached_hydrogens counts hydrogen atoms that have no site"

    def test_a_multiplicity_at_odds(self):
        text = cif(SKEW, [(*PAIR[0], 2), (*PAIR[1], 4)], "_space_group_IT_number 2")
        text = text.replace("_occupancy\n", "_occupancy\n_atom_site_site_symmetry_multiplicity\n")
        assert doubt(text) == "atom site 2 (F1) has multiplicity 4, but the operations make 2 of it"


class TestSpecialPositions:
    """Copies closer than the digits of the coordinates allow are one site."""

    @pytest.mark.parametrize(
        ("sites", "expected"),
        [
            ([site("Zn1", 0.333, 0.667, 0.25)], {"Zn": 2}),
            ([site("Zn1", 0.33, 0.67, 0.25)], {"Zn": 2}),
            ([site("Zn1", "1/3", "2/3", "1/4")], {"Zn": 2}),
            ([site("Zn1", 0.167, 0.333, 0.25), site("O1", 0, 0, 0)], {"Zn": 6, "O": 2}),
        ],
    )
    def test_few_digits(self, sites, expected):
        a = 3.1 if len(sites) == 1 else 6.3
        text = cif((a, a, 5.1, 90, 90, 120), sites, "_symmetry_space_group_name_H-M 'P 63/m m c'")
        assert atoms(text) == expected

    def test_a_rounded_site_is_put_where_its_symmetry_is(self):
        text = cif((3.1, 3.1, 5.1, 90, 90, 120), [site("Zn1", 0.333, 0.667, 0.25)], "_space_group_IT_number 194")
        expected = [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
        np.testing.assert_allclose(sorted(only(text).frac_coords.tolist()), expected, atol=1e-12)

    def test_copies_too_close_for_their_digits(self):
        text = cif((3.1, 3.1, 5.1, 90, 90, 120), [site("Zn1", "0.3130", "0.6870", 0.25)], "_space_group_IT_number 194")
        said = fault(text)
        assert said.startswith("atom site 1 (Zn1) is 0.")
        assert "from its own copy by " in said
        assert "write its coordinates with more digits (1/3 as 0.33333)" in said


class TestElements:
    @pytest.mark.parametrize("kind", ["Li", "LI", "li", "Li+", "Li1+", "Li+1", "'Li '", "Li0.95+"])
    def test_types(self, kind):
        assert atoms(cif(SKEW, [site("Li1", 0.1, 0.2, 0.3, kind=kind), PAIR[1]], P1)) == {"Li": 1, "F": 1}

    @pytest.mark.parametrize("kind", ["'Nb,Zr'", "Fe/Mg", "Ni0.8Co0.2", "'Nb Zr'", "0.8Nb+0.2Zr", "NiCo", "Fe3+/Fe2+"])
    def test_mixed_sites(self, kind):
        said = fault(cif(SKEW, [site("M1", 0.1, 0.2, 0.3, kind=kind), PAIR[1]], P1))
        assert "atom site 1 (M1) is disordered" in said or "write an element in _atom_site_type_symbol" in said

    @pytest.mark.parametrize("label", ["Fe/Mg1", "'Nb,Zr'"])
    def test_mixed_labels(self, label):
        rows = [(label, 0.1, 0.2, 0.3), ("O1", 0.6, 0.6, 0.6)]
        assert "is disordered" in fault(cif(SKEW, rows, P1, site=["_atom_site_label", *SITES]))
        assert "is disordered" in fault(cif(SKEW, [site(label, 0.1, 0.2, 0.3, kind="Fe"), PAIR[1]], P1))

    @pytest.mark.parametrize("kind", ["Nx", "X", "Wat", "?", "Xx3+", "1", "T", "NO3", "Va"])
    def test_unknown_types(self, kind):
        said = fault(cif(SKEW, [site("Li1", 0.1, 0.2, 0.3, kind=kind), PAIR[1]], P1))
        assert "atom site 1 (Li1) has " in said
        assert "write an element in _atom_site_type_symbol" in said

    def test_deuterium_only_if_asked_for(self):
        text = cif(SKEW, [site("D1", 0.1, 0.2, 0.3), PAIR[1]], P1, "_chemical_formula_sum 'D F'")
        assert "has the unknown element 'D'" in fault(text)
        assert atoms(text, deuterium=True) == {"H": 1, "F": 1}

    @pytest.mark.parametrize(
        ("labels", "formula", "expected"),
        [
            (["Ho1", "O1"], "", {"Ho": 1, "O": 1}),
            (["C1A", "Cl2'"], "", {"C": 1, "Cl": 1}),
            (["O(1)", "Na_2"], "", {"O": 1, "Na": 1}),
        ],
    )
    def test_labels_in_place_of_types(self, labels, formula, expected):
        assert atoms(self._labelled(labels, formula)) == expected

    @pytest.mark.parametrize(
        ("labels", "formula", "expected"),
        [
            (["HO1", "O1"], "H O", [1, 8]),
            (["OW1", "CL1"], "Cl O", [8, 17]),
            (["CA1", "O1"], "C O", [6, 8]),
            (["CA1", "O1"], "Ca O", [20, 8]),
        ],
    )
    def test_the_formula_decides_with_a_doubt(self, labels, formula, expected):
        text = self._labelled(labels, formula)
        assert f"atom site 1 ({labels[0]}) is read as {chemical_symbols[expected[0]]} from '{labels[0]}'" in doubt(text)
        assert only(text).numbers.tolist() == expected

    @pytest.mark.parametrize(
        ("labels", "formula", "reason"),
        [
            (["HO1", "O1"], "", "has 'HO1', which may be Ho or H; write an element"),
            (["CA1", "O1"], "C Ca O", "has 'CA1', which may be Ca or C"),
            (["OW1", "O1"], "", "has the unknown element 'OW1'"),
            (["NiCo1", "O1"], "Ni Co O", "is disordered (NiCo1)"),
            (["Wat1", "O1"], "H2 O", "has the unknown element 'Wat1'"),
        ],
    )
    def test_labels_that_are_not_to_be_told(self, labels, formula, reason):
        assert reason in fault(self._labelled(labels, formula))

    def test_a_type_in_capitals_is_never_holmium_in_silence(self):
        rows = [site("H1", 0.1, 0.2, 0.3, kind="HO"), site("O1", 0.1, 0.2, 0.43, kind="O")]
        assert "is read as Ho from 'HO'" in doubt(cif(SKEW, rows, P1))
        assert "is read as H from 'HO'" in doubt(cif(SKEW, rows, P1, "_chemical_formula_sum 'H O'"))

    def test_a_label_that_contradicts_its_type_is_a_doubt(self):
        rows = [site("Sr1", 0.1, 0.2, 0.3, kind="K"), site("O1", 0.6, 0.6, 0.6, kind="O2-")]
        said = "atom site 1 (Sr1) is K by its type 'K', not by its label"
        assert doubt(cif(SKEW, rows, P1)) == said
        assert only(cif(SKEW, rows, P1)).numbers.tolist() == [19, 8]
        assert doubt(cif(SKEW, rows, P1, "_chemical_formula_sum 'K O'")) == ""  # no strontium is meant
        rows = [site("K1", 0.1, 0.2, 0.3, kind="Sr"), site("Sr1", 0.6, 0.6, 0.6, kind="K")]
        assert doubt(cif(SKEW, rows, P1, "_chemical_formula_sum 'K Sr'")).endswith("label, and 1 more in this way")

    @pytest.mark.parametrize(("label", "kind"), [("OW1", "O"), ("CA1", "C"), ("M1", "Fe"), ("X", "Cl1-"), ("C1A", "C")])
    def test_labels_that_contradict_nothing(self, label, kind):
        assert doubt(cif(SKEW, [site(label, 0.1, 0.2, 0.3, kind=kind), PAIR[1]], P1)) == ""

    @staticmethod
    def _labelled(labels, formula):
        rows = [(labels[0], 0.1, 0.2, 0.3), (labels[1], 0.6, 0.6, 0.6)]
        said = [f"_chemical_formula_sum '{formula}'"] if formula else []
        return cif(SKEW, rows, P1, *said, site=["_atom_site_label", *SITES])


class TestFormula:
    P_1 = "_space_group_IT_number 2"

    @pytest.mark.parametrize(("formula", "units"), [("Li F", 2), ("Li2 F2", 1), ("Li2F2", 2), ("Li F", None), ("?", 7)])
    def test_that_fits(self, formula, units):
        said = [f"_chemical_formula_sum '{formula}'"] + ([f"_cell_formula_units_Z {units}"] if units else [])
        assert atoms(cif(SKEW, PAIR, self.P_1, *said)) == {"Li": 2, "F": 2}

    @pytest.mark.parametrize(
        ("formula", "units", "reason"),
        [
            ("Li F", 1, "the sites and the symmetry make Li2 F2, more than Z = 1 of Li1 F1"),
            ("Li2 F", 2, "make Li2 F2, with less Li than the formula Li2 F1"),
            ("Li F Na", 2, "with less Na than the formula"),
            ("Li2 O", None, "the sites hold F, which the formula Li2 O1 has not"),
            ("Li0.9 F", 2, "more than Z = 2 of Li0.9 F1"),
        ],
    )
    def test_at_odds(self, formula, units, reason):
        said = [f"_chemical_formula_sum '{formula}'"] + ([f"_cell_formula_units_Z {units}"] if units else [])
        assert reason in fault(cif(SKEW, PAIR, self.P_1, *said))

    def test_hydrogen_that_is_missing_and_z_alone_are_doubts(self):
        said = self.P_1, "_chemical_formula_sum 'Li F H2'", "_cell_formula_units_Z 2"
        assert doubt(cif(SKEW, PAIR, *said)).startswith("Missing elements: ")
        said = self.P_1, "_chemical_formula_sum 'Li F'", "_cell_formula_units_Z 4"
        made = "the sites and the symmetry make Li2 F2, but Z = 4 of Li1 F1 are more"
        assert doubt(cif(SKEW, PAIR, *said, operations(["x,y,z", "-x,-y,-z"]))) == made
        alone = f"{made}, and of the symmetry, _space_group_IT_number = 2 alone is given; write the operations, or "
        assert fault(cif(SKEW, PAIR, *said)) == f"{alone}correct Z"
        assert "nothing is said of the symmetry" in fault(cif(SKEW, PAIR, *said[1:]))

    def test_a_hall_symbol_of_another_setting_than_the_operations(self):
        said = operations(["x,y,z", "-x+1/2,-y,-z"]), "_symmetry_space_group_name_Hall '-P 1'"
        assert "are not those of _symmetry_space_group_name_Hall = -P 1 (2)" in fault(cif(SKEW, PAIR, *said))

    def test_atoms_that_an_experiment_did_not_locate_are_a_doubt(self):
        said = self.P_1, "_chemical_formula_sum 'Li F C2 H6 O'", "_refine_ls_R_factor_all 0.05"
        assert "with less C H O than the formula" in doubt(cif(SKEW, PAIR, *said))

    def test_more_hydrogen_than_the_formula(self):
        rows = [*PAIR, site("H1", 0.3, 0.9, 0.1)]
        assert "with more hydrogen than" in fault(cif(SKEW, rows, self.P_1, "_chemical_formula_sum 'Li F H0.5'"))


@pytest.mark.parametrize(("volume", "doubted"), [("180.36(4)", False), ("171.6", False), ("166", True), ("?", False)])
def test_a_volume_that_is_not_the_cells_is_a_doubt(volume, doubted):
    cell = "".join(f"_cell_length_{k} 5.65\n" for k in "abc") + "".join(
        f"_cell_angle_{k} 90\n" for k in ("alpha", "beta", "gamma")
    )
    names = "loop_\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    (crystal,) = read(f"data_a\n{cell}_Cell_Volume {volume}\n{names}Cs 0 0 0\nCl .5 .5 .5\n")
    assert crystal.fault is None
    said = "_Cell_Volume is 166, but lengths and angles make 180.362 cubic angstrom"
    assert crystal.doubts == ((said,) if doubted else ())
