"""The bar on a screen and the lines in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from matcard import progress
from matcard.progress import crystal_progress


def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_bar_says_how_many_how_fast_and_how_long():
    console = screen()
    now = [0.0]
    console.get_time = lambda: now[0]
    with crystal_progress(console, "parsing") as advance:
        for done in (500, 600, 700):  # the first 500 were there before: they say nothing of the speed
            advance(done, 1000)
            now[0] += 2.0
    said = console.file.getvalue()
    assert "parsing" in said
    assert "700/1000" in said
    assert "50 crystals/s" in said
    assert "0:00:06" in said


def test_a_bar_of_unknown_length_has_no_end():
    console = screen()
    with crystal_progress(console, "parsing") as advance:
        advance(30, None)
        advance(60, None)
    assert "60/?" in console.file.getvalue()


def test_a_bar_is_not_drawn_for_nothing():
    console = screen()
    with crystal_progress(console, "parsing"):
        pass
    assert "parsing" not in console.file.getvalue()


def test_a_log_gets_a_line_a_minute(clock):
    console = Console(file=io.StringIO(), width=110)
    with crystal_progress(console, "crystals to graphs") as advance:
        advance(1000, 11_000)
        for done in range(2000, 6000, 1000):
            clock[0] += 40
            advance(done, 11_000)
    assert console.file.getvalue().splitlines() == [
        "crystals to graphs: 3,000 of 11,000, 25 crystals/s, 0:05:20 left",
        "crystals to graphs: 5,000 of 11,000, 25 crystals/s, 0:04:00 left",
    ]


def test_a_log_of_unknown_length(clock):
    console = Console(file=io.StringIO(), width=110)
    with crystal_progress(console, "parsing") as advance:
        advance(0, None)
        clock[0] += 100
        advance(1, None)
        clock[0] += 100
        advance(4000, None)
    assert console.file.getvalue().splitlines() == ["parsing: 1, 0 crystals/s", "parsing: 4,000, 20 crystals/s"]


def test_what_is_counted_may_be_something_else(clock):
    console = Console(file=io.StringIO(), width=110)
    with crystal_progress(console, "predicting", "rows") as advance:
        advance(0, 10_000)
        clock[0] += 100
        advance(2000, 10_000)
    assert console.file.getvalue().splitlines() == ["predicting: 2,000 of 10,000, 20 rows/s, 0:06:40 left"]
