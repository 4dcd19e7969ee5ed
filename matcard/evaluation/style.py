"""How figures look and are saved. Figures are plain objects: pyplot's global state is never touched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
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

_DPI = 200


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


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
    """Write a figure as PNG; a reader sees the old file or the new one.

    `Figure.savefig` would draw it twice, once to find the places of its parts, which the drawing finds anyway.
    """
    figure.set_dpi(_DPI)
    with written_whole(Path(path)) as beside:
        FigureCanvasAgg(figure).print_png(beside, pil_kwargs={"compress_level": 1})  # type: ignore[no-untyped-call]
