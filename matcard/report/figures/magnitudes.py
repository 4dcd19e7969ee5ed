"""The magnitude function of the embeddings of each class: how many distinct points there are, seen from how near."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.evaluation import style
from matcard.report.figures.embedding_map import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from jaxtyping import Float, Int
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 500
"""Crystals of a class at most: the work grows with the third power of their number."""
FEWEST = 10
"""Classes with fewer crystals take no part in the comparison of equal numbers."""
_SCALES = 21


def magnitude_table(
    embeddings: Float[np.ndarray, "n F"], targets: Int[np.ndarray, " n"], class_names: Sequence[str], seed: int
) -> pd.DataFrame:
    """Compute |tX| of each class's embeddings over a range of scales t.

    Args:
        embeddings: of n crystals.
        targets: their classes.
        class_names: C names.
        seed: of the choice of at most `MOST` crystals a class, and of as many of each for the comparison.

    Returns:
        Rows of `class`, `crystals`, `t`, `magnitude` (of these crystals) and `equal_crystals`, `equal_magnitude` (of as
        many of each class as the smallest class with `FEWEST` or more has; NaN for smaller classes). The scales
        t are three decades around one over the median distance of all embeddings, in units of one over distance.
    """
    import pandas as pd
    import torch

    from matcard.invariants import magnitude_profile, median_scale

    rng = np.random.default_rng(seed)
    members = {c: np.flatnonzero(targets == c) for c in range(len(class_names))}
    members = {c: rng.permutation(rows)[:MOST] for c, rows in members.items() if len(rows)}
    large = [len(rows) for rows in members.values() if len(rows) >= FEWEST]
    equal = min(large, default=0)
    points = torch.as_tensor(embeddings, dtype=torch.float64)
    # An even part of all: they may be in order of their class.
    scales = float(median_scale(points[rng.permutation(len(points))[:2048]])) * np.logspace(-1.3, 2.0, _SCALES)
    tables = []
    for c, rows in members.items():
        whole = magnitude_profile(points[rows], scales.tolist()).numpy()
        part = np.full(_SCALES, np.nan)
        if len(rows) >= FEWEST:
            part = magnitude_profile(points[rows[:equal]], scales.tolist()).numpy()
        columns = {"class": class_names[c], "crystals": len(rows), "t": scales, "magnitude": whole}
        tables.append(pd.DataFrame({**columns, "equal_crystals": equal, "equal_magnitude": part}))
    return pd.concat(tables, ignore_index=True)


def magnitude_figure(table: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """Draw the magnitude function of the classes that are shown; the others are pale.

    Args:
        table: as `magnitude_table` gives it.
        shown: at most seven classes.
    """
    figure = style.new_figure(8.8, 3.7)
    panels = figure.subplots(1, 2)
    equal = int(table["equal_crystals"].iloc[0])
    columns = (("magnitude", "all of each class"), ("equal_magnitude", f"{equal} of each class"))
    for axes, (column, title) in zip(panels, columns, strict=True):
        _draw(axes, table, column, shown)
        style.tidy(axes, grid="both", x="scale t (1 / distance)", y="magnitude |tX|", title=title)
        axes.set(xscale="log", yscale="log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  frameon=False, fontsize=style.SMALL)  # fmt: skip
    return figure


def _draw(axes: Axes, table: pd.DataFrame, column: str, shown: Sequence[str]) -> None:
    colours = dict(zip(shown, COLOURS, strict=False))
    for name, rows in table.groupby("class", sort=False):
        if rows[column].isna().all():
            continue
        if name in colours:
            label = f"{style.short(str(name), 22)} ({rows['crystals'].iloc[0]:,})"
            axes.plot(rows["t"], rows[column], color=colours[str(name)], linewidth=1.5, label=label, zorder=2)
        else:
            axes.plot(rows["t"], rows[column], color=style.PALE, linewidth=0.8, zorder=1)
