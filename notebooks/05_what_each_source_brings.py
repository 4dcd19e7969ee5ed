# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What each source of knowledge brings
#
# A network can learn from the graph of a crystal, from the number behind its class, and from the numbers that a network trained on
# millions of structures (CHGNet) gives it. This page reads two comparisons on 4,000 crystals of the Materials Project, ten seeds each.
# What has no graph follows `configs/descriptors.yaml`, chosen on other divisions of these crystals; what has one follows the
# defaults, where neither 40 epochs nor "as published" is said:
#
#     python -m matcard.compare --config crystals-sources --jobs 2
#     python -m matcard.compare --config crystals-system --jobs 2
#
# Their runs stand in `benchmarks/results`. Splits keep crystals of one formula on one side; the test part is looked at once.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display

import matcard
from matcard.evaluation.statistics import corrected_t_test, t_interval
from matcard.evaluation.style import BLUE, GREEN, GREY, ORANGE, tidy

RESULTS = Path(matcard.__file__).resolve().parents[1] / "benchmarks" / "results"  # of a copy of the repository
NETWORK = "ce"

plt.rcParams.update({"figure.dpi": 95, "figure.constrained_layout.use": True})


def scores(name: str, metric: str) -> pd.DataFrame:
    """Give a metric of the test part: a row a seed, a column for each task and method."""
    runs = pd.read_parquet(RESULTS / f"{name}.parquet")
    runs = runs[(runs["stage"] == "test") & (runs["status"] == "finished")]
    return runs.pivot_table(index="seed", columns=["task", "method"], values=f"test_{metric}")


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Give mean and 95 % interval over seeds of each column."""
    found = {column: t_interval(table[column].dropna().tolist()) for column in table}
    return pd.DataFrame(
        {column: (e.mean, e.low, e.high) for column, e in found.items()}, index=["mean", "low", "high"]
    ).T


def draw(rows: pd.DataFrame, metric: str, title: str) -> None:
    """Draw means and intervals, a line each; boosting in grey."""
    _, axes = plt.subplots(figsize=(7, 0.8 + 0.3 * len(rows)))
    for place, (name, row) in enumerate(rows.iloc[::-1].iterrows()):
        colour = GREY if name.startswith("boosting") else BLUE
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
        axes.plot(row["mean"], place, "o", color=colour)
    axes.set_yticks(range(len(rows)), rows.index[::-1])
    tidy(axes, grid="x", x=f"{metric}, mean of ten seeds and 95 % interval", title=title)
    plt.show()


RATIO = 0.15 / 0.7  # test part over training part


def differences(table: pd.DataFrame, pairs: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """Give what the first task of each pair is ahead of the second, by the network, with the corrected interval."""
    found = {}
    for what, (one, other) in pairs.items():
        both = table[[(one, NETWORK), (other, NETWORK)]].dropna()
        test = corrected_t_test(both.iloc[:, 0].to_numpy(), both.iloc[:, 1].to_numpy(), RATIO)
        found[what] = (test.mean, test.low, test.high)
    return pd.DataFrame(found, index=["difference", "low", "high"]).T.round(3)


# %% [markdown]
# ## Gaps of 3 eV and more
#
# One crystal in nine. Average precision says how well the crystals are ranked, whatever the threshold. Boosting has Magpie features of
# the composition where there is only a graph, and CHGNet's numbers elsewhere; `number` learns the gap and ranks by it, `ranks` is the mean
# of both orders.

# %%
gaps = scores("crystals-sources", "average_precision")
table = means(gaps)
ORDER = ["CGCNN as published", "graph", "graph + number", "random CHGNet + number", "CHGNet", "CHGNet + number"]
ORDER += ["CHGNet + Magpie + number", "graph + CHGNet + number"]
rivals = {
    "boosting, Magpie, class": ("graph", "boosting"),
    "boosting, Magpie, number": ("graph", "boosting_number"),
    "boosting, Magpie, ranks": ("graph", "boosting_ranks"),
    "boosting, CHGNet, class": ("CHGNet", "boosting"),
    "boosting, CHGNet, number": ("CHGNet", "boosting_number"),
    "boosting, CHGNet, ranks": ("CHGNet", "boosting_ranks"),
}
shown = {**{name: (name, NETWORK) for name in ORDER}, **rivals}
rows = table.loc[list(shown.values())].set_axis(list(shown))

draw(rows, "average precision", "gap >= 3 eV")
f1 = means(scores("crystals-sources", "macro_f1")).loc[list(shown.values())].set_axis(list(shown))
display(pd.concat({"average precision": rows, "macro-F1": f1}, axis=1).round(3))

# %% [markdown]
# Intervals of two rows overlap more than their difference allows for, since a seed is the same split in both. The differences, paired by
# seed and corrected for training parts that overlap (Nadeau and Bengio 2003):

# %%
pairs = {
    "the number, beside the graph": ("graph + number", "graph"),
    "the number, beside CHGNet's numbers": ("CHGNet + number", "CHGNet"),
    "CHGNet's numbers in place of the graph": ("CHGNet + number", "graph + number"),
    "what CHGNet has learned (the same, random weights)": ("CHGNet + number", "random CHGNet + number"),
    "the graph, beside CHGNet's numbers": ("graph + CHGNet + number", "CHGNet + number"),
    "Magpie features, beside CHGNet's numbers": ("CHGNet + Magpie + number", "CHGNet + number"),
    "the defaults in place of CGCNN's published options": ("graph", "CGCNN as published"),
}
display(differences(gaps, pairs))

# %% [markdown]
# ## The fewer labels, the more it brings
#
# The same with 100, 300 and 1,000 crystals in the training part, ten seeds each, beside boosting on Magpie features and on CHGNet's numbers
# (`python -m matcard.compare --config crystals-curve --jobs 2`). Boosting learns the class alone here, the networks the gap, too.

# %%
curve = scores("crystals-curve", "average_precision")
named = {
    "graph and number": ("graph", NETWORK),
    "CHGNet and number": ("CHGNet", NETWORK),
    "boosting, Magpie": ("graph", "boosting"),
    "boosting, CHGNet": ("CHGNet", "boosting"),
}
sizes = [100, 300, 1000]
means_of = {
    what: means(curve[[(f"{of} of {n}", how) for n in sizes]])["mean"].tolist() for what, (of, how) in named.items()
}
display(pd.DataFrame(means_of, index=pd.Index(sizes, name="training crystals")).round(3))

_, axes = plt.subplots(figsize=(5.5, 3))
for what, colour in zip(named, (ORANGE, BLUE, GREY, GREEN), strict=True):
    whole = {"graph and number": "graph + number", "CHGNet and number": "CHGNet + number"}.get(what, named[what][0])
    axes.plot(
        [*sizes, 2700], [*means_of[what], table.loc[(whole, named[what][1]), "mean"]], "o-", color=colour, label=what
    )
axes.set_xscale("log")
axes.set_xticks([*sizes, 2700], ["100", "300", "1,000", "2,700"])
axes.minorticks_off()
axes.legend(frameon=False)
tidy(axes, grid="both", x="training crystals", y="average precision", title="gap >= 3 eV")
plt.show()

# %% [markdown]
# CHGNet was trained on energies, forces, stresses and magnetic moments of relaxations of the Materials Project, and has seen most of these
# structures, though never a gap. The same network with random weights shows what its training brings; only data from outside of the
# Materials Project can show that it does not rest on structures it has seen.
#
# ## Crystal systems
#
# Seven classes, four of them rarer than one in seven. Geometry decides here, which CHGNet's numbers of single atoms say little of.

# %%
LONG = "graph + CHGNet (40 epochs)"
systems = {metric: means(scores("crystals-system", metric)) for metric in ("macro_f1", "average_precision")}
named = {
    "graph": ("graph", NETWORK),
    "CHGNet": ("CHGNet", NETWORK),
    "graph + CHGNet": ("graph + CHGNet", NETWORK),
    "graph, 40 epochs": ("graph (40 epochs)", NETWORK),
    "both, 40 epochs": (LONG, NETWORK),
    "the same, default loss": (LONG, "spread_reweight"),
    "the same, logit adjustment": (LONG, "logit_adjustment"),
    "boosting, Magpie": ("graph", "boosting"),
    "boosting, CHGNet": ("CHGNet", "boosting"),
}
both = {metric: found.loc[list(named.values())].set_axis(list(named)) for metric, found in systems.items()}
draw(both["macro_f1"], "macro-F1 at the most likely class", "seven crystal systems")
display(pd.concat(both, axis=1).round(3))
added = {
    "CHGNet's numbers, beside the graph": ("graph + CHGNet", "graph"),
    "CHGNet's numbers, beside the graph, 40 epochs": (LONG, "graph (40 epochs)"),
    "40 epochs, of the graph": ("graph (40 epochs)", "graph"),
    "40 epochs, of both": (LONG, "graph + CHGNet"),
}
for metric in systems:
    print(metric)
    display(differences(scores("crystals-system", metric), added))

# %% [markdown]
# The graph is ahead of CHGNet's numbers here, and by the longer training of `configs/descriptors.yaml` they help beside it; what the default loss
# and logit adjustment add at the most likely class may be chance, though both find more of the rare systems. `01_minority_phase_recall.ipynb` looks at that.
