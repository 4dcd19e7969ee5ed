"""Figures as SVG inside the page: in the page's colours, by day and by night."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import matplotlib
from markupsafe import Markup

from matcard.evaluation import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIABLES = {
    style.INK: "ink",
    "#000000": "ink",
    style.GREY: "grey",
    style.PALE: "pale",
    style.BLUE: "blue",
    style.VERMILLION: "vermillion",
    style.GREEN: "green",
    style.PURPLE: "purple",
    style.ORANGE: "orange",
    style.SKY: "sky",
}
"""The colours of `matcard.evaluation.style`, and the CSS variables of the page that stand for them."""
_PIXELS_AN_INCH = 96


def inline_svg(figure: Figure, name: str, alt: str) -> Markup:
    """Give a figure as an SVG element that takes its colours from the page's CSS variables.

    Args:
        figure: drawn in the colours of `matcard.evaluation.style`.
        name: unlike that of any other figure of the page; the ids inside the SVG begin with it.
        alt: what is to be seen, in words.
    """
    text = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    for colour, variable in VARIABLES.items():
        drawing = re.sub(rf"{colour}\b", f"var(--{variable})", drawing, flags=re.IGNORECASE)
    # Ids are unique in a page, not in a figure alone.
    drawing = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", drawing)
    width = figure.get_size_inches()[0] * _PIXELS_AN_INCH
    opening = Markup('<svg role="img" aria-label="{}" style="--natural: {:.0f}px" viewBox="{}">').format(
        alt, width, _view_box(drawing)
    )
    return opening + Markup(drawing[drawing.index(">") + 1 :])


def _view_box(drawing: str) -> str:
    found = re.search(r'viewBox="([^"]*)"', drawing)
    return found[1] if found else ""
