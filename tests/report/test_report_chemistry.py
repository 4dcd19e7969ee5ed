from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Element
from report_cases import crystals

from matcard.evaluation.confusion import wilson
from matcard.report.chemistry import crystal_systems, element_shares, group_shares, position, site_bins


def test_elements_stand_where_pymatgen_has_them():
    for number in [*range(1, 57), *range(72, 89)]:
        element = Element.from_Z(number)
        assert position(number) == (element.group - 1, element.row - 1), element
    places = [position(number) for number in range(1, 104)]
    assert len(set(places)) == 103
    assert all(row > 6.5 for _, row in (position(number) for number in [*range(57, 72), *range(89, 104)]))


def test_crystal_systems():
    cells = crystals(np.diag([4, 4, 4]), np.diag([4, 4, 5]), np.diag([4, 5, 6]))
    assert crystal_systems(cells).tolist() == ["cubic", "tetragonal", "orthorhombic"]


def test_shares_of_groups_and_elements():
    table = group_shares(
        np.array(["a", "b", "a", "a"], dtype=object), np.array([True, False, False, True]), ["b", "a", "c"]
    )
    assert table[["group", "n", "found"]].to_numpy().tolist() == [["b", 1, 0], ["a", 3, 2], ["c", 0, 0]]
    expected = wilson(2, 3)
    assert table.loc[1, ["recall", "low", "high"]].tolist() == pytest.approx(
        [expected[key] for key in ("value", "low", "high")]
    )
    assert np.isnan(table.loc[2, "recall"])
    both = crystals(np.eye(3) * 4, np.eye(3) * 4, numbers=(11, 11), frac=((0, 0, 0), (0.5, 0.5, 0.5)))
    shares = element_shares(both, np.array([True, False]))
    assert shares[["element", "n", "found"]].to_numpy().tolist() == [["Na", 2, 1]]  # once a crystal, not once a site


def test_bins_of_sites_hold_what_they_say():
    few, order = site_bins(np.array([5, 10, 5, 20]))
    assert (few.tolist(), order) == (["5", "10", "5", "20"], ["5", "10", "20"])
    numbers = np.array([1, 2, 3, 4, 5, 8, 9, 12, 13, 500])
    many, order = site_bins(numbers)
    assert order == ["1–2", "3–4", "5–8", "9–12", "13–20", "161 or more"]
    for number, name in zip(numbers.tolist(), many, strict=True):
        low, _, high = name.replace(" or more", "–1000000").partition("–")
        assert int(low) <= number <= int(high)
