"""How figures look and are saved. Figures are plain objects: pyplot's global state is never touched."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from matcard.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart with every common colour blindness.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
INK, GREY, PALE = "#222222", "#6F6F6F", "#DDDDDD"
SHARES = LinearSegmentedColormap.from_list(
    "shares", [(0.0, (0.0, 0.447, 0.698, 0.0)), (0.55, (0.0, 0.447, 0.698, 0.8)), (1.0, (0.0, 0.33, 0.55, 1.0))]
)
"""From nothing to blue; clear at the low end, so that what is below shows through."""
DASHED, DOTTED = (0, (4, 2)), (0, (1.5, 1.5))
SMALL, TEXT, TITLE = 8.0, 9.0, 10.0
"""Font sizes in points."""


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy(
    axes: Axes,
    *,
    grid: Literal["x", "y", "both"],
    x: str | None = None,
    y: str | None = None,
    title: str | None = None,
) -> None:
    """Draw two sides of the frame and a pale grid, and write the labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=SMALL, color=GREY, labelcolor=INK)
    axes.grid(axis=grid, color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(x or "", fontsize=TEXT, color=INK)
    axes.set_ylabel(y or "", fontsize=TEXT, color=INK)
    axes.set_title(title or "", loc="left", fontsize=TITLE, color=INK)


def short(name: str, width: int) -> str:
    """Cut a long class name in the middle; a dollar sign stays one (matplotlib would read mathematics)."""
    if len(name) > width:
        head = (width - 1) // 2
        name = f"{name[:head].rstrip()}…{name[len(name) - (width - 1 - head) :].lstrip()}"
    return name.replace("$", r"\$")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as SVG, letters as paths; a reader sees the old file or the new one.

    The white ground has ids that begin with `ground`, for pages that show through. `Figure.savefig` would draw twice,
    once to find the places of the figure's parts, which the drawing finds anyway.
    """
    path = Path(path)
    figure.patch.set_gid("ground")
    for number, axes in enumerate(each for parent in figure.axes for each in (parent, *parent.child_axes)):
        axes.patch.set_gid(f"ground-{number}")
    text = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": path.stem}):
        FigureCanvasSVG(figure).print_svg(text, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))  # type: ignore[no-untyped-call]
    with written_whole(path) as beside:
        beside.write_text(text.getvalue(), encoding="utf-8")
