"""The numbers that a network predicts beside the classes: their errors, and predicted against true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from matcard.evaluation import style
from matcard.evaluation.tables import value_lines
from matcard.report.html import paragraph

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun


def values(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw each predicted number of the test part against the true one, and say how far apart they are."""
    drawn = Markup("")
    for k, name in enumerate(run.metrics["values"]["numbers"]):
        table = run.numbers(name)
        drawn += figures.add(
            f"parity-{k + 1}",
            parity_figure(table, name),
            table,
            alt=f"Predicted against true {name} of {len(table)} {run.noun}s of the test part.",
            caption=f"Predicted against true {name}, test part; on the dashed line they are the same.",
        )
    return drawn + Markup("").join(paragraph(f"{line}.") for line in value_lines(run.metrics))


def parity_figure(table: pd.DataFrame, name: str) -> Figure:
    """Draw the column `predicted` against `true`, both on the same scale."""
    figure = style.new_figure(3.8, 3.8)
    axes = figure.add_subplot()
    ends = [table[["true", "predicted"]].min().min(), table[["true", "predicted"]].max().max()]
    axes.plot(ends, ends, color=style.GREY, linewidth=0.9, linestyle=style.DASHED)
    axes.plot(table["true"], table["predicted"], "o", color=style.BLUE, markersize=3, alpha=0.4, markeredgewidth=0)
    axes.set_aspect("equal", adjustable="datalim")
    style.tidy(axes, grid="both", x=f"true {name}", y=f"predicted {name}")
    return figure
