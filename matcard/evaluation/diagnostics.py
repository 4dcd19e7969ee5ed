"""Figure of what a loss did: which class pulled at the network, and how many errors were distinct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError
from matcard.evaluation import style
from matcard.evaluation.curves import draw_epochs
from matcard.evaluation.groups import minority_mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float, Int
    from matplotlib.figure import Figure

_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
_MOST = len(_COLOURS)
"""Classes drawn one by one; of more, the minority together and the others together."""


def diagnostics_figure(
    rows: Sequence[Mapping[str, str | float]], class_names: Sequence[str], class_counts: Int[np.ndarray, " C"]
) -> Figure:
    """Draw the shares of the gradient and the number of distinct errors, epoch by epoch.

    Args:
        rows: of `metrics.csv`, texts or numbers, of a run with `--trainer.diagnostics true`: `epoch` (from 0),
            `gradient_share_<class>`, `effective_errors_magnitude`, `effective_errors_spread`.
        class_names: C names.
        class_counts: training samples of each class; a class's share of them is drawn dotted beside its gradient's.

    Raises:
        InputError: no rows, or columns that are missing.
    """
    counted = {"magnitude": style.BLUE, "spread": style.VERMILLION}
    shares_of, errors_by = (
        (f"gradient_share_{name}" for name in class_names),
        (f"effective_errors_{n}" for n in counted),
    )
    columns = ["epoch", *shares_of, *errors_by]
    if not rows or not set(columns) <= set(rows[0]):
        missing = [name for name in columns if not rows or name not in rows[0]]
        raise InputError(f"rows have no column {', '.join(missing)}: train with --trainer.diagnostics true")
    table = np.array([[float(row[name] or "nan") for name in columns] for row in rows])
    epoch, shares = table[:, 0] + 1, table[:, 1:-2]
    figure = style.new_figure(9.6, 3.2)
    left, right = figure.subplots(1, 2)
    for (label, share, of_samples), colour in zip(_lines(shares, class_names, class_counts), _COLOURS, strict=False):
        draw_epochs(left, epoch, share, colour, f"{label} ({of_samples:.1%} of samples)")
        left.axhline(of_samples, color=colour, linewidth=0.9, linestyle=style.DOTTED)
    for (label, colour), values in zip(counted.items(), table[:, -2:].T, strict=True):
        draw_epochs(right, epoch, values, colour, label)
    left.set_ylim(0, 1)
    right.set_ylim(0, 1.05 * max(1.0, np.nan_to_num(table[:, -2:]).max()))
    titles = ("share of the gradient (dotted: of the samples)", "distinct errors in a batch")
    for axes, title in zip((left, right), titles, strict=True):
        style.tidy(axes, grid="y", x="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.legend(frameon=False, fontsize=style.SMALL, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _lines(
    shares: Float[np.ndarray, "epochs C"], names: Sequence[str], counts: Int[np.ndarray, " C"]
) -> list[tuple[str, Float[np.ndarray, " epochs"], float]]:
    """Give label, shares of the gradient and share of the samples of each line, the largest class first."""
    of_samples = counts / counts.sum()
    if len(names) <= _MOST:
        order = np.argsort(-counts, kind="stable")
        return [(style.short(names[c], 24), shares[:, c], float(of_samples[c])) for c in order]
    rare = minority_mask(counts)
    groups = {f"{(~rare).sum()} common classes": ~rare, f"{rare.sum()} minority classes": rare}
    return [(label, shares[:, of].sum(1), float(of_samples[of].sum())) for label, of in groups.items() if of.any()]
