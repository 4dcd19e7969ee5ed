"""The bar on a screen."""

from __future__ import annotations

import io

from rich.console import Console

from matcard.progress import crystal_progress


def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


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


def test_what_is_counted_may_be_something_else():
    console = screen()
    now = [0.0]
    console.get_time = lambda: now[0]
    with crystal_progress(console, "predicting", "rows") as advance:
        for done in (0, 200, 400):
            advance(done, 1000)
            now[0] += 2.0
    assert "100 rows/s" in console.file.getvalue()


def test_nothing_is_drawn_into_a_file():
    console = Console(file=io.StringIO(), width=110)
    with crystal_progress(console, "parsing") as advance:
        advance(1000, 11_000)
    assert not console.file.getvalue()
