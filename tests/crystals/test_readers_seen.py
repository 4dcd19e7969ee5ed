"""Ids seen so far: exact, whatever they are made of."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from matcard.crystals.readers.seen import SeenIds


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=2)))
def test_the_first_row_is_that_of_a_dict(names):
    seen, expected = SeenIds(), {}
    for row, name in enumerate(names):
        assert seen.first_row(name, row) == expected.setdefault(name, row)


def test_what_was_added_is_known_and_nothing_else():
    seen = SeenIds()
    seen.add([("a", 1), ("", 2), ("\udcff", 3)])
    assert [seen.first_row(name, 9) for name in ("a", "", "\udcff", "A")] == [1, 2, 3, 9]
    assert SeenIds().first_row("a", 5) == 5


def test_ids_beyond_what_is_kept_in_memory_are_known():
    seen = SeenIds()
    seen._database.execute("PRAGMA cache_size = 4")  # pages
    seen.add((f"crystal {k}", k) for k in range(5_000))
    assert [seen.first_row(f"crystal {k}", -1) for k in range(0, 6_000, 999)] == [0, 999, 1998, 2997, 3996, 4995, -1]
