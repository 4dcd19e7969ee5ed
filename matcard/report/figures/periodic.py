"""The periodic table, each element coloured by how many of its crystals are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.patches import Rectangle

from matcard.evaluation import style
from matcard.report.html import records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 5
"""Elements in fewer crystals than this are grey: their share says little."""

_LANTHANIDES, _ACTINIDES = range(57, 72), range(89, 104)
_ELEMENTS = range(1, 104)
_STRONGEST = 0.8
# Clear in the middle, so that the page shows through, by day and by night.
_DIVERGING = LinearSegmentedColormap.from_list(
    "share",
    [
        (0.0, (0.82, 0.36, 0.0, _STRONGEST)),
        (0.5, (0.5, 0.5, 0.5, 0.06)),
        (1.0, (0.0, 0.44, 0.68, _STRONGEST)),
    ],
)


def periodic_figure(shares: pd.DataFrame, overall: float) -> Figure:
    """Draw for each element the share of its crystals whose class is found, and how many there are.

    Args:
        shares: a row an element: `element` (symbol), `n` crystals, `recall` of them found, `low` and `high` of
            its interval. Bold where the interval excludes `overall`.
        overall: the share over all crystals, the neutral colour.
    """
    from ase.data import chemical_symbols

    known = {row["element"]: row for row in records(shares)}
    norm = TwoSlopeNorm(vcenter=min(max(overall, 0.02), 0.98), vmin=0.0, vmax=1.0)
    figure = style.new_figure(9.4, 5.0)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    for number in _ELEMENTS:
        _draw_element(
            axes, position(number), chemical_symbols[number], known.get(chemical_symbols[number]), overall, norm
        )
    axes.set(xlim=(-0.05, 18.0), ylim=(9.5, -0.05), aspect="equal")
    axes.set_axis_off()
    _explain(figure, axes, norm, overall)
    return figure


def _draw_element(
    axes: Axes,
    place: tuple[float, float],
    symbol: str,
    found: dict[str, Any] | None,
    overall: float,
    norm: TwoSlopeNorm,
) -> None:
    column, row = place
    grey = 0.0 if found is None else 0.18
    colour, ink, weight, share = (0.5, 0.5, 0.5, grey), style.GREY, "normal", "few"
    if found is not None and found["n"] >= FEW:
        colour, ink, share = _DIVERGING(norm(found["recall"])), style.INK, f"{100 * found['recall']:.0f} %"
        weight = "bold" if found["low"] > overall or found["high"] < overall else "normal"
    axes.add_patch(Rectangle((column, row), 0.94, 0.94, facecolor=colour, edgecolor=style.PALE, linewidth=0.6))
    axes.text(column + 0.07, row + 0.3, symbol, fontsize=8.5, color=ink, weight="bold")
    if found is not None:
        axes.text(column + 0.47, row + 0.6, share, fontsize=6.4, color=ink, ha="center", weight=weight)
        axes.text(column + 0.47, row + 0.86, f"{found['n']:,}", fontsize=5.6, color=ink, ha="center")


def position(number: int) -> tuple[float, float]:
    """Give column (0 to 17) and row (0 to 6; below them the lanthanides and actinides) of an element."""
    for row, series in ((7.4, _LANTHANIDES), (8.4, _ACTINIDES)):
        if number in series:
            return 3.0 + number - series[0] - 0.5, row
    # The elements that close the rows, and what each row lacks between its second and its third element from the left.
    closing = (0, 2, 10, 18, 36, 54, 86, 118)
    period = next(k for k, last in enumerate(closing) if number <= last)
    place, length = number - closing[period - 1] - 1, closing[period] - closing[period - 1]
    column = place if place < (1 if length == 2 else 2) else place + 18 - length
    return float(column), float(period - 1)


def _explain(figure: Figure, axes: Axes, norm: TwoSlopeNorm, overall: float) -> None:
    inset = axes.inset_axes((0.19, 0.86, 0.34, 0.028))
    bar = figure.colorbar(ScalarMappable(norm, _DIVERGING), cax=inset, orientation="horizontal")
    bar.set_ticks([0.0, overall, 1.0], labels=["0 %", f"{100 * overall:.0f} % over all", "100 %"])
    bar.ax.tick_params(labelsize=style.SMALL, length=2, color=style.GREY, labelcolor=style.INK)
    bar.outline.set_visible(False)
    bar.ax.set_title("found, of the crystals that contain the element", fontsize=style.SMALL, color=style.INK)
