"""Where the network fails: recall by element, by crystal system, by number of sites."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from markupsafe import Markup
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from pymatgen.core.periodic_table import Element

from matcard.data.groups import symmetries
from matcard.evaluation import style
from matcard.evaluation.confusion import ratio, wilson_bounds
from matcard.evaluation.figures import ALL, MINORITY, Series, interval_figure
from matcard.report.page import paragraph, records, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Int, Shaped
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matcard.crystals.crystals import Crystals
    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun

MOST_SYMMETRIES = 1500
"""Of more crystals than this an evenly spaced part is looked at: spglib takes milliseconds a crystal."""
SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
_SITE_EDGES = (1, 3, 5, 9, 13, 21, 41, 81, 161)
_SINGLE_VALUES = 8
FEW = 5
"""Elements in fewer crystals than this are grey: their share says little."""
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


def by_element(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the share of crystals found for each element, over all classes and over the minority classes."""
    crystals, test = run.test_samples.inputs, run.test
    rare = run.minority[test.targets]
    drawn = Markup("")
    for name, what, among in (
        ("elements", "", np.ones(len(rare), dtype=bool)),
        ("elements-minority", "minority ", rare),
    ):
        if not among.any() or (what and among.all()):
            continue
        shares = element_shares(crystals.take(np.flatnonzero(among)), test.right[among])
        if shares["n"].max() < FEW:  # a table that is grey all over says nothing
            drawn += paragraph(f"No element stands in {FEW} or more of the {among.sum():,} {what}test crystals.")
            continue
        overall = float(test.right[among].mean())
        drawn += figures.add(
            name,
            periodic_figure(shares, overall),
            shares,
            alt=f"Periodic table: share of the {what}test crystals found, by element.",
            caption=f"Of the {among.sum():,} test crystals{' of minority classes' if what else ''}, the share whose "
            "class is found, for those that contain each element, and their number. Elements in fewer than "
            f"{FEW} crystals are grey; bold: the 95 % Wilson interval excludes the {share(overall)} over all.",
        )
    return drawn


def by_system(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the share of crystals found in each crystal system."""
    systems = crystal_systems(run.test_samples.inputs)
    known = systems != ""
    order = [name for name in SYSTEMS if name in set(systems.tolist())]
    skipped = len(systems) - int(known.sum())
    return _grouped(
        run, figures, "crystal-systems", systems, order, known,
        f"by crystal system (found by spglib{f'; {skipped:,} crystals without one are left out' if skipped else ''})",
    )  # fmt: skip


def by_sites(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the share of crystals found by the number of sites in the cell."""
    bins, order = site_bins(run.test_samples.inputs.num_sites)
    return _grouped(run, figures, "sites", bins, order, bins != "", "by the number of sites in the cell")


def _grouped(
    run: FinishedRun,
    figures: FigureFolder,
    name: str,
    groups: Shaped[np.ndarray, " n"],
    order: list[str],
    among: Bool[np.ndarray, " n"],
    by: str,
) -> Markup:
    right, rare = run.test.right, run.minority[run.test.targets]
    tables = {ALL: group_shares(groups[among], right[among], order)}
    if (rare & among).any():
        tables[MINORITY] = group_shares(groups[among & rare], right[among & rare], order)
    series = [Series(*look, records(table.rename(columns={"recall": "value"}))) for look, table in tables.items()]
    joined = pd.concat([table.assign(classes=look[0]) for look, table in tables.items()], ignore_index=True)
    overall = next(iter(tables.values()))
    counts = zip(*(table["n"] for table in tables.values()), strict=True)
    beside = [" / ".join(f"{n:,}" for n in row) for row in counts]
    return figures.add(
        name,
        interval_figure(order, series, "share found, with 95 % Wilson interval", beside=beside),
        joined,
        alt=f"Share of the test crystals found {by}: "
        + "; ".join(f"{row['group']} {share(row['recall'])} of {row['n']}" for row in records(overall)),
        caption=f"Share of the test crystals whose class is found, {by}. At the right their number"
        f"{', of all and of minority classes' if len(tables) > 1 else ''}.",
    )


def group_shares(groups: Shaped[np.ndarray, " n"], right: Bool[np.ndarray, " n"], order: Sequence[str]) -> pd.DataFrame:
    """Give `group`, `n`, `found`, `recall`, `low`, `high` (95 % Wilson) of each group, in the given order."""
    members = [right[groups == name] for name in order]
    n, found = np.array([len(each) for each in members]), np.array([int(each.sum()) for each in members])
    low, high = wilson_bounds(found, n)
    return pd.DataFrame(
        {"group": list(order), "n": n, "found": found, "recall": ratio(found, n), "low": low, "high": high}
    )


def element_shares(crystals: Crystals, right: Bool[np.ndarray, " n"]) -> pd.DataFrame:
    """Give the same for each element: a crystal counts once for every element that it contains."""
    owners = np.repeat(np.arange(len(crystals)), crystals.num_sites)
    pairs = np.unique(owners * 256 + crystals.numbers.astype(np.int64))
    symbols = np.array(chemical_symbols, dtype=object)
    shares = group_shares(symbols[pairs % 256], right[pairs // 256], symbols[np.unique(pairs % 256)].tolist())
    return shares.rename(columns={"group": "element"})


def crystal_systems(crystals: Crystals) -> Shaped[np.ndarray, " n"]:
    """Find the crystal system of each crystal by spglib; empty where it is unknown, or not looked at."""
    looked_at = np.unique(np.linspace(0, len(crystals) - 1, min(len(crystals), MOST_SYMMETRIES)).astype(np.int64))
    systems = np.full(len(crystals), "", dtype=object)
    found = symmetries(crystals.take(looked_at))
    by_number = gemmi.find_spacegroup_by_number
    systems[looked_at] = [by_number(int(one.number)).crystal_system_str() if one else "" for one in found]
    return systems


def site_bins(num_sites: Int[np.ndarray, " n"]) -> tuple[Shaped[np.ndarray, " n"], list[str]]:
    """Put crystals into bins by their number of sites; gives each one's bin and the bins that are not empty.

    Few different numbers are bins of their own.
    """
    values = np.unique(num_sites)
    if len(values) <= _SINGLE_VALUES:
        return num_sites.astype(str).astype(object), values.astype(str).tolist()
    names = [*(f"{low}–{high - 1}" for low, high in pairwise(_SITE_EDGES)), f"{_SITE_EDGES[-1]} or more"]
    bins = pd.cut(num_sites, [*_SITE_EDGES, np.inf], right=False, labels=names)
    return np.asarray(bins, dtype=object), list(bins.remove_unused_categories().categories)


def periodic_figure(shares: pd.DataFrame, overall: float) -> Figure:
    """Draw for each element the share of its crystals whose class is found, and how many there are.

    Args:
        shares: a row an element: `element` (symbol), `n` crystals, `recall` of them found, `low` and `high` of
            its interval. Bold where the interval excludes `overall`.
        overall: the share over all crystals, the neutral colour.
    """
    known = {row["element"]: row for row in records(shares)}
    norm = TwoSlopeNorm(vcenter=min(max(overall, 0.02), 0.98), vmin=0.0, vmax=1.0)
    figure = style.new_figure(9.4, 5.0)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    places = np.array([position(number) for number in _ELEMENTS])
    colours = [
        _write_element(axes, place, symbol, known.get(symbol), overall, norm)
        for place, symbol in zip(places.tolist(), map(chemical_symbols.__getitem__, _ELEMENTS), strict=True)
    ]
    squares = places[:, None] + 0.94 * np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    axes.add_collection(PolyCollection(list(squares), facecolors=colours, edgecolors=style.PALE, linewidths=0.6))
    axes.set(xlim=(-0.05, 18.0), ylim=(9.5, -0.05), aspect="equal")
    axes.set_axis_off()
    inset = axes.inset_axes((0.19, 0.86, 0.34, 0.028))
    bar = figure.colorbar(ScalarMappable(norm, _DIVERGING), cax=inset, orientation="horizontal")
    bar.set_ticks([0.0, overall, 1.0], labels=["0 %", f"{100 * overall:.0f} % over all", "100 %"])
    bar.ax.tick_params(labelsize=style.SMALL, length=2, color=style.GREY, labelcolor=style.INK)
    bar.ax.set_title("found, of the crystals that contain the element", fontsize=style.SMALL, color=style.INK)
    return figure


def _write_element(
    axes: Axes,
    place: Sequence[float],
    symbol: str,
    found: dict[str, Any] | None,
    overall: float,
    norm: TwoSlopeNorm,
) -> tuple[float, float, float, float]:
    """Write an element's symbol, share and number; gives the colour behind them."""
    column, row = place
    grey = 0.0 if found is None else 0.18
    colour, ink, weight, share = (0.5, 0.5, 0.5, grey), style.GREY, "normal", "few"
    if found is not None and found["n"] >= FEW:
        colour, ink, share = _DIVERGING(norm(found["recall"])), style.INK, f"{100 * found['recall']:.0f} %"
        weight = "bold" if found["low"] > overall or found["high"] < overall else "normal"
    axes.text(column + 0.07, row + 0.3, symbol, fontsize=8.5, color=ink, weight="bold")
    if found is not None:
        axes.text(column + 0.47, row + 0.6, share, fontsize=6.4, color=ink, ha="center", weight=weight)
        axes.text(column + 0.47, row + 0.86, f"{found['n']:,}", fontsize=5.6, color=ink, ha="center")
    return colour


def position(number: int) -> tuple[float, float]:
    """Give column (0 to 17) and row (0 to 6; below them the lanthanides and actinides) of an element."""
    element = Element.from_Z(number)
    if element.is_lanthanoid:
        return number - 54.5, 7.4
    if element.is_actinoid:
        return number - 86.5, 8.4
    return element.group - 1.0, element.row - 1.0
