"""What the file of results of redundant.py says: differences from plain with two intervals, ranks, each setting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from matcard.evaluation import style
from matcard.evaluation.statistics import compare_ranks, corrected_t_test, holm

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE, BOUND = "plain", "without families"
CONDITION = ["task", "members", "validation"]
CELL = ["task", "members", "seed", "method"]
"""What a row of results is of, beside its setting and the kind of validation."""
SHOWN = ("average_precision", "macro_f1_decision")


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Take of each method and seed the trial with the best average precision on validation, the first of equals."""
    best = table.groupby(["validation", *CELL], sort=False)["val_average_precision"].idxmax()
    return table.loc[best]


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Give a row for each condition, method and metric: mean, difference from plain with both intervals, rank.

    A seed counts where all methods have been run. Ranks are means over seeds, which share their crystals: they
    describe, and test nothing.
    """
    rows = []
    for keys, part in chosen(table.reset_index(drop=True)).groupby(CONDITION, sort=False):
        ratio = float(part["test_to_train"].mean())
        for metric in SHOWN:
            scores = part.pivot_table(index="seed", columns="method", values=metric, sort=False).dropna()
            ranks = scores.drop(columns=BOUND, errors="ignore").rank(axis=1, ascending=False).mean()
            rivals = [method for method in scores if method != REFERENCE]
            tests = {of: [corrected_t_test(scores[m], scores[REFERENCE], of) for m in rivals] for of in (ratio, 0.0)}
            p_values = holm([test.p for test in tests[ratio]])
            found = {m: (*of, p) for m, *of, p in zip(rivals, tests[ratio], tests[0.0], p_values, strict=True)}
            for method in scores:
                row = dict(zip(CONDITION, keys, strict=True))
                row |= {"method": method, "metric": metric, "seeds": len(scores), "mean": scores[method].mean()}
                if method in found:
                    other, these, p = found[method]
                    row |= {"difference": other.mean, "low": other.low, "high": other.high, "p": p}
                    row |= {"seeds_low": these.low, "seeds_high": these.high, "detectable": other.detectable}
                rows.append(row | {"rank": ranks.get(method, math.nan)})
    return pd.DataFrame(rows)


def tables(table: pd.DataFrame) -> str:
    """Write what is compared as Markdown: a table for each task and size, ranks over them, each setting held fixed."""
    said, found = [], compared(table)
    shown = [("repeated", SHOWN[0]), ("clean", SHOWN[0]), ("repeated", SHOWN[1])]
    for (task, members), part in found.groupby(["task", "members"], sort=False):
        columns = [
            part[part["validation"].eq(kind) & part["metric"].eq(metric)].set_index("method") for kind, metric in shown
        ]
        seeds = columns[0]["seeds"].iloc[0]
        first, clean, decided = (written(each["detectable"].dropna().median()) for each in columns)
        lines = [
            f"**{task}, {members} members**: {seeds} seeds; detects {first} ({clean} with clean), macro-F1 {decided}\n",
            "| method | average precision | difference | with clean | difference | macro-F1 | difference | rank |",
            "|---|---:|---|---:|---|---:|---|---:|",
        ]
        for method in columns[0].index:
            rows = [each.loc[method] for each in columns]
            cells = [text for row in rows for text in (written(row["mean"]), difference(row))]
            rank = rows[0]["rank"]
            lines.append(f"| {method} | {' | '.join(cells)} | {'–' if math.isnan(rank) else f'{rank:.1f}'} |")
        said.append("\n".join(lines))
    means = found[found["metric"].eq("average_precision") & found["method"].ne(BOUND)].pivot_table(
        index=CONDITION, columns="method", values="mean", sort=False
    ).dropna(axis=1)  # fmt: skip
    if min(means.shape) > 1:
        ranks = compare_ranks(means.to_numpy())
        order = ", ".join(f"{method} {rank:.1f}" for rank, method in sorted(zip(ranks.mean, means, strict=True)))
        said.append(
            f"Mean ranks by average precision over {len(means)} conditions: {order}; critical difference "
            f"{ranks.critical_difference:.1f} (Nemenyi), p = {ranks.friedman_p:.3f} (Friedman). Conditions that share "
            "their crystals are not independent."
        )
    lines = [
        "Average precision with each setting held fixed:\n",
        "| task, members | method | what is set | means |",
        "|---|---|---|---|",
    ]
    one = table[table["validation"] == "clean"]
    for (task, members, method), part in one.groupby(["task", "members", "method"], sort=False):
        fixed = part.groupby("setting", sort=False)["average_precision"].mean()
        means_of = ", ".join(f"{setting}: {written(mean)}" for setting, mean in fixed.items())
        lines.append(f"| {task}, {members} | {method} | {part['sets'].iloc[0]} | {means_of} |")
    return "\n\n".join([*said, "\n".join(lines)])


def written(value: float) -> str:
    """Write .123 for 0.123, and a dash for what is undefined."""
    return "–" if math.isnan(value) else f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")


def difference(row: pd.Series) -> str:
    """Write a difference with both intervals; a star where it is beyond chance, by Holm for the number of methods."""
    if math.isnan(row.get("difference", math.nan)):
        return "–"
    sign, star = ("" if row["difference"] < 0 else "+"), ("*" if row["p"] < 0.05 else "")
    if math.isnan(row["low"]):  # of one seed
        return f"{sign}{written(row['difference'])}"
    ends = [written(row[name]) for name in ("low", "high", "seeds_low", "seeds_high")]
    return f"{sign}{written(row['difference'])}{star} ({ends[0]} to {ends[1]}; seeds {ends[2]} to {ends[3]})"


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw differences of average precision from plain, with both intervals, a panel a condition."""
    found = compared(table)
    found = found[found["metric"].eq("average_precision") & found["difference"].notna()]
    groups = list(found.groupby(CONDITION, sort=False))
    methods = list(dict.fromkeys(found["method"]))[::-1]
    figure = style.new_figure(2.2 + 2.6 * len(groups), 1.0 + 0.22 * len(methods))
    for axes, ((task, members, validation), part) in zip(
        np.atleast_1d(figure.subplots(1, len(groups), sharey=True, sharex=True)), groups, strict=True
    ):
        places = [methods.index(method) for method in part["method"]]
        for low, high, width in (("low", "high", 1.0), ("seeds_low", "seeds_high", 3.5)):
            axes.hlines(places, part[low], part[high], color=style.BLUE, linewidth=width)
        axes.plot(part["difference"], places, "o", color=style.INK, markersize=3)
        axes.axvline(0, color=style.GREY, linewidth=0.8)
        axes.set_yticks(range(len(methods)), methods)
        title = f"{task}, {members} members,\n{validation} validation"
        style.tidy(axes, grid="x", x="average precision − plain", title=title)
    style.save_figure(figure, path)
