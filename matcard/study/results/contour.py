"""The landscape of a metric over two parameters, such as the scale and the weight of the invariant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import Delaunay, QhullError

from matcard.evaluation import style
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.study.results.figures import best_number, scale_axis

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matcard.study.search.parameter import Parameter

_FEWEST = 6
"""With fewer points there is no landscape to be drawn, only the points."""
_GRID = 80
_SMOOTHING = 0.05
"""Of the surface through values that are noisy, in units of their variance."""


def contour_figure(table: pd.DataFrame, metric: str, x: Parameter, y: Parameter, by: str | None = None) -> Figure:
    """Draw a smoothed surface of the metric between the trials, and the trials on it.

    Args:
        table: as `trial_table` gives it.
        metric: one of those that the study improves.
        x: a parameter of numbers.
        y: another.
        by: a parameter of alternatives; each gets a panel of its own, since each has another landscape.
    """
    done = table[table[[metric, x.name, y.name]].notna().all(axis=1)]
    panels = list(done.groupby(by)) if by is not None and by in done else [("", done)]
    figure = style.new_figure(0.9 + 3.6 * len(panels), 3.3)
    low, high = done[metric].min(), done[metric].max()
    colours = matplotlib.colormaps["viridis" if higher_is_better(metric) else "viridis_r"]
    norm = matplotlib.colors.Normalize(low, high if high > low else low + 1e-9)
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    best = best_number(done, metric)
    for k, (axes, (label, trials)) in enumerate(zip(row, panels, strict=True)):
        _draw_surface(axes, trials, metric, x, y, np.linspace(norm.vmin or 0.0, norm.vmax or 1.0, 13), colours)
        values = {"c": trials[metric], "cmap": colours, "norm": norm}
        axes.scatter(trials[x.name], trials[y.name], s=26, edgecolors="white", linewidths=0.8, **values)
        ringed = trials[trials["number"] == best]
        axes.plot(ringed[x.name], ringed[y.name], "o", color="none", mec=style.VERMILLION, mew=1.6, ms=11)
        style.tidy(axes, grid="both", x=x.name, y=y.name if k == 0 else None, title=str(label))
        scale_axis(axes, "x", x)
        scale_axis(axes, "y", y)
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(norm, colours), ax=row.tolist(), aspect=24, pad=0.02)
    bar.set_label(f"{metric_label(metric)} (ring: best)", fontsize=style.TEXT)
    bar.ax.tick_params(labelsize=style.SMALL, length=2)
    bar.outline.set_visible(False)
    return figure


def _draw_surface(
    axes: Axes,
    trials: pd.DataFrame,
    metric: str,
    x: Parameter,
    y: Parameter,
    levels: Float[np.ndarray, " l"],
    colours: matplotlib.colors.Colormap,
) -> None:
    """Draw the surface inside the trials' convex hull: beyond it nothing is known."""
    if len(trials) < _FEWEST:
        return
    points = np.stack([_unit(trials[p.name].to_numpy(float), p) for p in (x, y)], axis=1)
    try:
        hull = Delaunay(points)
    except QhullError:
        return  # all on a line
    values = trials[metric].to_numpy(float)
    surface = RBFInterpolator(points, values, smoothing=_SMOOTHING, kernel="thin_plate_spline")
    ends = np.linspace(0, 1, _GRID)
    grid = np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2)
    heights = np.where(hull.find_simplex(grid) >= 0, surface(grid), np.nan).reshape(_GRID, _GRID)
    inside = np.clip(heights, levels[0], levels[-1])
    axes.contourf(_from_unit(ends, x), _from_unit(ends, y), inside, levels, cmap=colours, alpha=0.75)


def _unit(values: Float[np.ndarray, " n"], parameter: Parameter) -> Float[np.ndarray, " n"]:
    low, high = parameter.low, parameter.high
    if parameter.log:
        return np.asarray(np.log(values / low) / np.log(high / low))
    return (values - low) / (high - low)


def _from_unit(shares: Float[np.ndarray, " n"], parameter: Parameter) -> Float[np.ndarray, " n"]:
    low, high = parameter.low, parameter.high
    return np.asarray(low * (high / low) ** shares) if parameter.log else low + shares * (high - low)
