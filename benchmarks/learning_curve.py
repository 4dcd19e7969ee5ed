"""Draw how many labelled crystals it takes: the runs of two comparisons against the size of the training part.

    python benchmarks/learning_curve.py --figure docs/figures/learning_curve.svg

The comparisons are `crystals-curve` and, for the whole training part, `crystals-sources`; both stand in `results/`.
Intervals are over seeds alone: small training parts of different seeds share few crystals, so that the correction for
parts that overlap, which takes them to share most, does not apply.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from matcard.evaluation import style
from matcard.evaluation.statistics import corrected_t_test, t_interval

RESULTS = Path(__file__).parent / "results"
WHOLE = {"graph + number": "graph", "CHGNet + number": "CHGNet", "graph": "graph", "CHGNet": "CHGNet"}
"""Task of crystals-sources -> what was given; boosting stands under the tasks without the number."""
METHODS = {
    ("graph", "ce"): "graph and number",
    ("graph", "boosting"): "boosting, Magpie",
    ("CHGNet", "ce"): "CHGNet and number",
    ("CHGNet", "boosting"): "boosting, CHGNet",
}
COLOURS = {
    "graph and number": style.ORANGE,
    "boosting, Magpie": style.GREY,
    "CHGNet and number": style.BLUE,
    "boosting, CHGNet": style.GREEN,
}


def read() -> pd.DataFrame:
    """Give average precision: a row a number of training crystals and seed, a column a method."""
    curve = pd.read_parquet(RESULTS / "crystals-curve.parquet")
    curve["given"] = curve["task"].str.split(" of ").str[0]
    whole = pd.read_parquet(RESULTS / "crystals-sources.parquet")
    whole = whole[whole["task"].isin(WHOLE) & (whole["task"].str.contains("number") == (whole["method"] == "ce"))]
    whole = whole.assign(given=whole["task"].map(WHOLE), n_train=round(whole["n_train"].mean(), -2))
    columns = ["given", "method", "n_train", "seed", "test_average_precision"]
    runs = pd.concat([curve[columns], whole[columns]], ignore_index=True)
    runs["what"] = [METHODS.get(key) for key in zip(runs["given"], runs["method"], strict=True)]
    return runs.pivot_table(index=["n_train", "seed"], columns="what", values="test_average_precision")[
        list(METHODS.values())
    ]


def table(scores: pd.DataFrame) -> str:
    """Write means over seeds with the interval over seeds alone, and what CHGNet's numbers lead boosting on them by."""
    lines = [f"| training crystals | {' | '.join(scores)} | network − boosting, both on CHGNet |"]
    lines.append("|---:|" + "---:|" * len(scores.columns) + "---|")
    for size, part in scores.groupby("n_train"):
        cells = [f"{e.mean:.3f} ({e.low:.3f} to {e.high:.3f})" for e in map(t_interval, part.to_numpy().T)]
        ahead = corrected_t_test(part["CHGNet and number"], part["boosting, CHGNet"], 0.0)
        cells.append(f"{ahead.mean:+.3f} ({ahead.low:+.3f} to {ahead.high:+.3f})")
        lines.append(f"| {size:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(scores: pd.DataFrame, path: Path) -> None:
    """Draw the means and the intervals over seeds against the number of training crystals."""
    figure = style.new_figure(5.6, 3.2)
    axes = figure.subplots()
    for what in scores:
        found = pd.DataFrame({n: t_interval(part[what].tolist()) for n, part in scores.groupby("n_train")}).T
        axes.plot(found.index, found[0], "o-", color=COLOURS[what], markersize=4, label=what)
        axes.fill_between(found.index, found[1], found[2], color=COLOURS[what], alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    sizes = scores.index.unique("n_train")
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.minorticks_off()
    axes.legend(fontsize=style.SMALL, frameon=False)
    style.tidy(axes, grid="both", x="training crystals", y="average precision", title="Gaps of 3 eV and more (11.7 %)")
    style.save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, help="SVG to draw them into")
    options = parser.parse_args()
    scores = read()
    print(table(scores))
    if options.figure:
        draw(scores, options.figure)


if __name__ == "__main__":
    main()
