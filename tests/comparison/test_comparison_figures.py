"""What figures of comparisons show."""

from __future__ import annotations

from matcard.comparison.figures import rank_groups


def test_groups_of_ranks():
    assert rank_groups([1.0, 1.5, 2.4, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert rank_groups([1.0, 2.0, 3.0], 5.0) == [(0, 2)]
    assert rank_groups([1.0, 2.0, 3.0], 0.5) == []
