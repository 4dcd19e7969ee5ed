"""Crystals as arrays: what is taken, joined and left without sites is what the rows themselves say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matcard.crystals.crystals import Crystals, id_faults, objects, offsets_from_counts
from matcard.errors import StructureError


def some(counts: list[int], first: int = 0) -> Crystals:
    """Make crystals of so many sites each, in which each number tells where it belongs."""
    n, s = len(counts), sum(counts)
    return Crystals(
        objects(f"c{first + i}" for i in range(n)),
        np.stack([np.eye(3) * (3 + first + i) for i in range(n)]) if n else np.empty((0, 3, 3)),
        offsets_from_counts(np.array(counts, dtype=np.int64)),
        np.arange(1, s + 1, dtype=np.uint8),
        np.linspace(0, 1, 3 * s).reshape(s, 3),
        where=objects(f"line {first + i + 2}" for i in range(n)),
        columns=pd.DataFrame({"place": range(first, first + n)}),
    )


def rows(crystals: Crystals) -> list[tuple[object, ...]]:
    """Write the rows out one by one."""
    bounds = zip(crystals.offsets[:-1], crystals.offsets[1:], strict=True)
    return [
        (
            crystals.ids[i],
            crystals.where[i],
            crystals.faults[i],
            crystals.doubts[i],
            crystals.lattice[i].tolist(),
            crystals.numbers[a:b].tolist(),
            crystals.frac_coords[a:b].tolist(),
            crystals.columns.iloc[i].tolist(),
        )
        for i, (a, b) in enumerate(bounds)
    ]


@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=6), data=st.data())
def test_rows_that_are_taken_are_those_rows(counts: list[int], data: st.DataObject) -> None:
    crystals = some(counts)
    index = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=8))
    listed = rows(crystals)
    assert rows(crystals.take(index)) == [listed[i] for i in index]


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=4))
def test_joined_rows_are_the_rows_of_the_parts(parts: list[list[int]]) -> None:
    pieces = [some(counts, first=10 * k) for k, counts in enumerate(parts)]
    assert rows(Crystals.concatenate(pieces)) == [row for piece in pieces for row in rows(piece)]


def test_a_row_at_fault_stays_and_loses_its_sites() -> None:
    crystals = some([2, 3, 1]).with_faults(objects([None, "no", None]))
    assert len(crystals) == 3
    assert crystals.num_sites.tolist() == [2, 0, 1]
    assert crystals.numbers.tolist() == [1, 2, 6]
    assert crystals.sound.tolist() == [True, False, True]
    assert not crystals.lattice[1].any()
    assert crystals.columns["place"].tolist() == [0, 1, 2]
    # The first fault is the one that is told.
    assert crystals.with_faults(objects(["a", "b", None])).faults.tolist() == ["a", "no", None]


def test_a_row_at_fault_is_no_object() -> None:
    crystals = some([1, 1]).with_faults(objects([None, "no sites"]))
    for give in (crystals.structure, crystals.atoms):
        assert len(give(0)) == 1
        with pytest.raises(StructureError, match="line 3: no sites"):
            give(1)
        with pytest.raises(IndexError, match="crystal 2 of 2"):
            give(2)


def test_ids_that_repeat_or_are_missing_are_faults() -> None:
    crystals = some([1, 1, 1, 1])
    crystals.ids[:] = ["a", "b", "", "a"]
    faults = id_faults(crystals.ids, crystals.where)
    assert faults[0] is None
    assert faults[1] is None
    assert "no id" in faults[2]
    assert "first in line 2" in faults[3]


def test_the_digest_sees_every_number_and_no_name() -> None:
    one, other = some([2, 1]), some([2, 1])
    other.ids[0] = "renamed"
    assert one.content_digest() == other.content_digest()
    other.frac_coords[2, 1] += 1e-9
    assert one.content_digest() != other.content_digest()
    assert some([1, 2]).content_digest() != some([2, 1]).content_digest()
    assert len(Crystals.concatenate([])) == 0


def test_arrays_that_do_not_fit_are_refused() -> None:
    crystals = some([1, 2])
    with pytest.raises(ValueError, match="do not fit"):
        Crystals(crystals.ids, crystals.lattice, crystals.offsets[:-1], crystals.numbers, crystals.frac_coords)
    with pytest.raises(ValueError, match="as many of where"):
        Crystals(
            crystals.ids,
            crystals.lattice,
            crystals.offsets,
            crystals.numbers,
            crystals.frac_coords,
            where=crystals.where[:1],
        )
