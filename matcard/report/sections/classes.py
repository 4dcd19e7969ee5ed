"""What was trained on what: the classes of each part, and the rows that were not used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from matcard.report.html import code, paragraph, plural, table

if TYPE_CHECKING:
    from matcard.report.folder import FigureFolder
    from matcard.training.finished import FinishedRun

PARTS = {"train": "training", "val": "validation", "test": "test"}
_LISTED = 12


def class_counts(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Show how many crystals of each class every part holds, and how many rows of it were not used."""
    import pandas as pd

    counts = {part: run.counts(part) for part in PARTS}
    left_out = run.left_out["class"].value_counts()
    train = counts["train"]
    table_ = pd.DataFrame({"class": run.class_names, **counts})
    table_["left_out"] = [int(left_out.get(name, 0)) for name in run.class_names]
    table_["train_share"] = train / train.sum()
    figures.data("class-counts", table_)
    rows = [(row[0], *(f"{n:,}" for n in row[1:5]), _bar(row[5])) for row in table_.itertuples(index=False)]
    rare = np.flatnonzero(run.minority).tolist()
    sums = table_[[*PARTS, "left_out"]].sum()
    return table(
        ("class", *PARTS.values(), "left out", "share of training"),
        rows,
        caption=f"{run.noun.capitalize()}s of each class. Orange: minority classes, below 1/{len(run.class_names)} of "
        "the training part",
        marked=rare,
        footer=("all", *(f"{n:,}" for n in sums), ""),
    )


def left_out(run: FinishedRun, figures: FigureFolder) -> Markup:
    """List what was not used, by reason, and the first rows of it."""
    rows = run.left_out
    if not len(rows):
        return paragraph("Nothing: every row of the source had a label and could be used.")
    figures.data("left-out", rows)
    reasons = rows["reason"].value_counts()
    first = rows.head(_LISTED)
    return Markup("").join(
        [
            paragraph(
                Markup("{} of the source were not used. All of them are listed in {}.").format(
                    plural(len(rows), "row"), code("left_out.csv")
                )
            ),
            table(("reason", "rows"), [(reason, f"{n:,}") for reason, n in reasons.head(_LISTED).items()],
                  caption=f"Reasons{_cut(len(reasons))}"),
            table(("id", "class", "where", "reason"), first[["id", "class", "where", "reason"]].to_numpy().tolist(),
                  caption=f"Rows that were not used{_cut(len(rows))}", texts=4),
        ]
    )  # fmt: skip


def _bar(share: float) -> Markup:
    return Markup('{:.1f} % <span class="bar" style="--share: {:.4f}"></span>').format(100 * share, share)


def _cut(number: int) -> str:
    return f", the first {_LISTED} of {number:,}" if number > _LISTED else ""
