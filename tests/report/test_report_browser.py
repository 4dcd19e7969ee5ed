"""The report as a browser shows it: no errors, no requests, nothing empty, nothing beside the page."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIZES = """() => [...document.querySelectorAll('figure svg')].map(each => {
    const box = each.getBoundingClientRect(); return [each.closest('figure').id, box.width, box.height]; })"""

FILLS = """() => [...document.querySelectorAll('#figure-recall svg use, #figure-learning svg use')].map(
    each => getComputedStyle(each).fill)"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser is driven")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the report is not opened in a browser")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


def opened(browser, report, **options):
    """Open a report in a page of its own; gives the page, what it complains of and what it asks for."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(120_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    return page, said, asked


def test_on_a_desk_pictures_move_when_they_come_into_view(browser, nasty_report):
    page, said, asked = opened(browser, nasty_report, viewport={"width": 1280, "height": 900}, color_scheme="light")
    sizes = page.evaluate(SIZES)
    assert len(sizes) >= 20
    assert all(width > 100 and height > 60 for _, width, height in sizes), sizes
    crystal = page.locator("#figure-confident-1")
    crystal.scroll_into_view_if_needed()
    crystal.locator("canvas").first.wait_for()
    page.locator("#figure-embedding-map").scroll_into_view_if_needed()
    page.wait_for_function("!document.querySelector('#figure-confident-1 canvas')")  # far away: still again
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [nasty_report.as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_nothing_beside_the_page(browser, nasty_report, scheme):
    page, said, _ = opened(
        browser, nasty_report, viewport={"width": 375, "height": 800}, has_touch=True, is_mobile=True,
        color_scheme=scheme,
    )  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.locator("canvas").count() == 0
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    dark = [sum(map(int, colour[4:-1].split(","))) < 380 for colour in (ink, paper)]
    assert dark == ([True, False] if scheme == "light" else [False, True])
    fills = page.evaluate(FILLS)
    assert ink in fills
    assert "rgb(0, 0, 0)" not in fills
    if scheme == "light":
        page.locator("#figure-confident-1 button").click()
        page.locator("#figure-confident-1 canvas").first.wait_for()
    assert said == []


def test_on_paper_pictures_stand_still(browser, nasty_report):
    page, said, _ = opened(browser, nasty_report, viewport={"width": 1000, "height": 900}, color_scheme="dark")
    page.locator("#figure-confident-1").scroll_into_view_if_needed()
    page.locator("#figure-confident-1 canvas").first.wait_for()
    page.emulate_media(media="print")
    assert page.locator("#figure-confident-1 .still svg").is_visible()
    assert not page.locator("#figure-confident-1 .live").is_visible()
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')").strip() == "#222222"
    assert len(page.pdf()) > 50_000
    assert said == []
