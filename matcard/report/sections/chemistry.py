"""Where the network fails: recall by element, by crystal system, by number of sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from matcard.evaluation.figures import ALL, MINORITY, Series, interval_figure
from matcard.report.figures.periodic import FEW, periodic_figure
from matcard.report.groups import SYSTEMS, crystal_systems, element_shares, group_shares, site_bins
from matcard.report.html import listed, records, share

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Shaped

    from matcard.report.folder import FigureFolder
    from matcard.training.finished import FinishedRun


def by_element(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the share of crystals found for each element, over all classes and over the minority classes."""
    crystals, test = run.test_table.crystals, run.test
    rare = run.minority[test.targets]
    drawn = Markup("")
    for name, what, among in (
        ("elements", "", np.ones(len(rare), dtype=bool)),
        ("elements-minority", "minority ", rare),
    ):
        if not among.any() or (what and among.all()):
            continue
        shares = element_shares(crystals.take(np.flatnonzero(among)), test.right[among])
        overall = float(test.right[among].mean())
        drawn += figures.add(
            name,
            periodic_figure(shares, overall),
            shares,
            alt=f"Periodic table: share of the {what}test crystals found, by element. {_worst(shares, overall)}",
            caption=f"Of the {among.sum():,} test crystals{' of minority classes' if what else ''}, the share whose "
            "class is found, for those that contain each element, and their number. Elements in fewer than "
            f"{FEW} crystals are grey; bold: the 95 % Wilson interval excludes the {share(overall)} over all. "
            f"{_worst(shares, overall)}",
        )
    return drawn


def by_system(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the share of crystals found in each crystal system."""
    systems, source = crystal_systems(run.test_table)
    known = systems != ""
    order = [name for name in SYSTEMS if name in set(systems.tolist())]
    skipped = len(systems) - int(known.sum())
    return _grouped(
        run, figures, "crystal-systems", systems, order, known,
        f"by crystal system ({source}{f'; {skipped:,} crystals without one are left out' if skipped else ''})",
    )  # fmt: skip


def by_sites(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw the share of crystals found by the number of sites in the cell."""
    bins, order = site_bins(run.test_table.crystals.num_sites)
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
    import pandas as pd

    right, rare = run.test.right, run.minority[run.test.targets]
    tables = {ALL: group_shares(groups[among], right[among], order)}
    if (rare & among).any():
        tables[MINORITY] = group_shares(groups[among & rare], right[among & rare], order)
    series = [Series(*look, _intervals(table)) for look, table in tables.items()]
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


def _intervals(table: pd.DataFrame) -> list[dict[str, float]]:
    return [{"value": row["recall"], **{key: row[key] for key in ("low", "high", "n")}} for row in records(table)]


def _worst(shares: pd.DataFrame, overall: float) -> str:
    """Name the elements whose interval lies below the overall share."""
    below = shares[(shares["high"] < overall) & (shares["n"] >= FEW)].sort_values("recall")
    if not len(below):
        return "No element is found significantly less often than the rest."
    names = [f"{row['element']} ({share(row['recall'])} of {row['n']})" for row in records(below)]
    return f"Found less often than the rest: {listed(names)}."
