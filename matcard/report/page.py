"""The page: sections one below the other, put together into one file that needs no other."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from matcard.errors import InputError, MatcardWarning
from matcard.files import written_whole
from matcard.report.html import paragraph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading; `write` gives its HTML, or raises what keeps it from doing so."""

    anchor: str
    title: str
    write: Callable[[], Markup]


@dataclass(frozen=True)
class Page:
    """What a report is made of.

    Attributes:
        title: heading of the page.
        subtitle: a line below it.
        sections: in the order of the page.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]


def write_page(page: Page, path: Path) -> Path:
    """Write a page whole; a section that cannot be written says why, and a `MatcardWarning` is given."""
    written = [(section, _body(section, path)) for section in page.sections]
    lively = any('class="view"' in body for _, body in written)
    text = (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            sections=written,
            style=Markup(_template("style.css")),
            script=Markup(_template("report.js")) if lively else None,
            plotly=Markup(_plotly()) if lively else None,
        )
    )
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return path


def _body(section: Section, path: Path) -> Markup:
    # Whatever goes wrong here, the run is done and its files are whole: the page goes without the section.
    try:
        return section.write()
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        warnings.warn(f"{path}: the section {section.title!r} is missing: {reason}", MatcardWarning, stacklevel=3)
        return paragraph(f"This section is missing: {reason}", "missing")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("matcard.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> str:
    return files("matcard.report").joinpath("templates", name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Give plotly's script, as the installed package has it."""
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
