"""Numbers kept on disk: found by content, gone on with, mended."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from descriptor_cases import SALT, crystals_of, random_crystal

from matcard.descriptors import base
from matcard.descriptors.base import Numbers, kept_numbers
from matcard.errors import InputError, MatcardWarning

CRYSTALS = crystals_of(*(random_crystal(seed, 3) for seed in range(10)))


@dataclass
class Counting:
    """Gives the volume, the number of sites and the sum of atomic numbers, and counts what it is asked for."""

    name: str = "counting"
    version: str = "1"
    kept: bool = True
    dies_after: int | None = None
    without: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    def compute(self, crystals) -> Numbers:
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += crystals.ids.tolist()
        total = [crystals.numbers[a:b].sum() for a, b in zip(crystals.offsets, crystals.offsets[1:], strict=False)]
        values = np.stack([np.linalg.det(crystals.lattice), crystals.num_sites, total], axis=1).astype(np.float32)
        reasons = np.array([f"{i} fails" if i in self.without else None for i in crystals.ids], dtype=object)
        values[[reason is not None for reason in reasons]] = np.nan
        return Numbers(values, reasons)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_PIECE_ATOMS", 6)  # two crystals


def test_each_crystal_is_computed_once(tmp_path) -> None:
    expected = Counting().compute(CRYSTALS).values
    first = Counting()
    some = CRYSTALS.take([4, 1, 1, 7])
    np.testing.assert_array_equal(kept_numbers(first, some, tmp_path).values, expected[[4, 1, 1, 7]])
    assert sorted(first.asked) == ["c1", "c4", "c7"]
    second = Counting()
    np.testing.assert_array_equal(kept_numbers(second, CRYSTALS, tmp_path).values, expected)
    assert sorted(second.asked) == ["c0", "c2", "c3", "c5", "c6", "c8", "c9"]
    third = Counting()
    assert kept_numbers(third, CRYSTALS, tmp_path).values.tolist() == expected.tolist()
    assert third.asked == []


def test_the_version_and_the_name_decide(tmp_path) -> None:
    kept_numbers(Counting(), CRYSTALS, tmp_path)
    for other in (Counting(version="2"), Counting(name="another")):
        kept_numbers(other, CRYSTALS, tmp_path)
        assert len(other.asked) == len(CRYSTALS)


def test_the_content_decides_and_not_the_id() -> None:
    lattice, numbers, coords = SALT
    nearly = coords.copy()
    nearly[1, 2] = np.nextafter(nearly[1, 2], 1)
    others = (lattice, [11, 35], coords), (lattice, numbers, nearly), (lattice * 1.001, *SALT[1:])
    digests = crystals_of(SALT, SALT, *others).digests()
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_a_killed_computation_is_gone_on_with(tmp_path) -> None:
    killed = Counting(dies_after=4)
    with pytest.raises(KeyboardInterrupt):
        kept_numbers(killed, CRYSTALS, tmp_path)
    resumed, seen = Counting(), []
    found = kept_numbers(resumed, CRYSTALS, tmp_path, progress=lambda *at: seen.append(at))
    assert sorted(killed.asked + resumed.asked) == sorted(CRYSTALS.ids)
    assert seen == [(4, 10), (6, 10), (8, 10), (10, 10)]
    np.testing.assert_array_equal(found.values, Counting().compute(CRYSTALS).values)


@pytest.mark.parametrize("damage", ["cut", "altered", "emptied"])
def test_a_damaged_file_is_computed_anew(tmp_path, damage: str) -> None:
    kept_numbers(Counting(), CRYSTALS, tmp_path)
    path = sorted(tmp_path.glob("*/*.npz"))[2]
    content = bytearray(path.read_bytes())
    if damage == "altered":
        content[content.rindex(b"\x93NUMPY") + 130] ^= 0xFF  # within the values
    path.write_bytes({"cut": content[: len(content) // 2], "emptied": b""}.get(damage, content))
    again = Counting()
    with pytest.warns(MatcardWarning, match=r"\.npz is damaged .* computed anew"):
        found = kept_numbers(again, CRYSTALS, tmp_path)
    assert len(again.asked) == 2
    np.testing.assert_array_equal(found.values, Counting().compute(CRYSTALS).values)


def test_a_file_that_another_process_has_removed_meanwhile_is_computed_anew(tmp_path) -> None:
    kept_numbers(Counting(), CRYSTALS, tmp_path)
    path = sorted(tmp_path.glob("*/*.npz"))[2]
    path.unlink()
    path.symlink_to("gone")  # listed, and not there when it is opened
    again = Counting()
    found = kept_numbers(again, CRYSTALS, tmp_path)
    assert len(again.asked) == 2
    np.testing.assert_array_equal(found.values, Counting().compute(CRYSTALS).values)


def test_rows_without_numbers_are_tried_again(tmp_path) -> None:
    found = kept_numbers(Counting(without=frozenset({"c5"})), CRYSTALS, tmp_path)
    assert [(i, reason) for i, reason in enumerate(found.reasons) if reason] == [(5, "c5 fails")]
    assert np.flatnonzero(np.isnan(found.values).any(axis=1)).tolist() == [5]
    again = Counting()
    assert kept_numbers(again, CRYSTALS, tmp_path).reasons[5] is None
    assert again.asked == ["c5"]


def test_nothing_to_compute(tmp_path) -> None:
    assert kept_numbers(Counting(), CRYSTALS.take([]), tmp_path).values.shape == (0, 3)
    none = Counting(without=frozenset(CRYSTALS.ids))
    assert np.isnan(kept_numbers(none, CRYSTALS, tmp_path).values).all()


def test_processes_give_the_same(tmp_path) -> None:
    found = kept_numbers(Counting(), CRYSTALS, tmp_path, jobs=2)
    np.testing.assert_array_equal(found.values, Counting().compute(CRYSTALS).values)


def test_a_cache_that_cannot_be_used(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cache folder .*file cannot be used .*MATCARD_CACHE"):
        kept_numbers(Counting(), CRYSTALS, tmp_path / "file")
