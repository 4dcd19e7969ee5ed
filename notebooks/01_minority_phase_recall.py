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
# # Minority-phase recall
#
# Which phases does a crystal-graph network miss, why, and what does each loss change? The crystals are `perovskite_phases`, the
# data set that matcard brings along: 4,400 synthetic perovskites in five phases, of which three are rarer than one in five and
# one, the tetragonal (polar) phase, is 4 % of all. The same network is trained four times on the same split with the same
# seed; only the loss differs.
#
# To make it yours, put your table or folder in `DATA` and the class of interest in `RAREST`.

# %%
import warnings

# What libraries say to programmers: tqdm without ipywidgets, torch to lightning, torch-geometric's scripted functions.
for words in ("IProgress not found", "`isinstance.treespec", "`torch.jit.script"):
    warnings.filterwarnings("ignore", words)

# %%
import os
import tempfile
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from rich.console import Console

from matcard.data.read import read_labelled
from matcard.evaluation.choice import best_score
from matcard.evaluation.confusion import confusion_averages, confusion_matrix, minority_mask, wilson
from matcard.evaluation.decision import Decision
from matcard.evaluation.metrics import ranking_averages, ranking_steps
from matcard.evaluation.scoring import bootstrap_intervals
from matcard.evaluation.style import BLUE, DOTTED, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SHARES, VERMILLION, tidy
from matcard.files import read_json
from matcard.training.config import parse_config
from matcard.training.run import train

SMALL = "MATCARD_NOTEBOOK_SMALL" in os.environ  # the tests' quick pass
EPOCHS, RESAMPLES = (1, 20) if SMALL else (10, 2000)  # 24 epochs are matcard's default: 2.5 times as long
DATA = ["--data.source", "perovskite_phases"]
RAREST = "tetragonal"
TINY = ["--model.width", "8", "--model.hidden", "8", "--model.convolutions", "1"] if SMALL else []

plt.rcParams.update({"figure.dpi": 95, "figure.constrained_layout.use": True})
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)

# %% [markdown]
# ## Four losses
#
# Cross-entropy is the reference. Logit adjustment is the rival to beat: it is told the class counts. The magnitude of a batch's
# errors is added to cross-entropy with a small weight, and the last is matcard's default, cross-entropy weighted by the
# spread of embeddings beside their class; neither is told any count.

# %%
LOSSES = {
    "cross-entropy": "--loss.name cross_entropy",
    "logit adjustment": "--loss.name logit_adjustment",
    "magnitude, added": "--loss.name error --loss.combine add --loss.scale 1 --loss.lambda_invariant 0.1",
    "spread, reweighting": "--loss.name reweight --loss.invariant spread --loss.scale 3",
}
COLOURS = dict(zip(LOSSES, (GREY, ORANGE, BLUE, VERMILLION), strict=True))
MARKERS = dict(zip(LOSSES, "oDs^", strict=True))
if SMALL:
    LOSSES = {name: LOSSES[name] for name in ("cross-entropy", "spread, reweighting")}

runs = {}
for k, (name, options) in enumerate(LOSSES.items()):
    words = [
        *DATA,
        *TINY,
        *options.split(),
        "--trainer.max_epochs",
        str(EPOCHS),
        "--run_dir",
        f"runs/{k}",
        "--report",
        "false",
    ]
    config = parse_config(words, prog="notebook", description="")
    runs[name] = train(config, console=Console(quiet=True)).path

# %% [markdown]
# Everything below is read from the files that the runs have left: `predictions.parquet`, `embeddings.npz`, `decision.json` and
# `test_metrics.json`. The split is the same in all four: formulas are never divided, so no composition stands on both sides.

# %%
predictions = {name: pd.read_parquet(path / "predictions.parquet") for name, path in runs.items()}
metrics = {name: read_json(path / "test_metrics.json") for name, path in runs.items()}
reference = predictions["cross-entropy"]
assert all(table["id"].equals(reference["id"]) for table in predictions.values())

counts = pd.crosstab(reference["target"], reference["split"])[["train", "val", "test"]]
counts["share of training"] = (counts["train"] / counts["train"].sum()).map("{:.1%}".format)
display(counts)

# %%
tests = {name: table[table["split"] == "test"].reset_index(drop=True) for name, table in predictions.items()}
CLASSES = list(metrics["cross-entropy"]["recall"])
targets = tests["cross-entropy"]["target"].map(CLASSES.index).to_numpy()
train_counts = counts["train"].reindex(CLASSES).to_numpy()
minority = minority_mask(train_counts)
rare_names = [name for name, rare in zip(CLASSES, minority, strict=True) if rare]
probabilities = {name: table[[f"prob_{c}" for c in CLASSES]].to_numpy() for name, table in tests.items()}
decisions = {name: Decision.load(path / "decision.json") for name, path in runs.items()}
validation = {name: table[table["split"] == "val"] for name, table in predictions.items()}
balanced = {
    name: best_score(
        table["target"].map(CLASSES.index).to_numpy(),
        table[[f"prob_{c}" for c in CLASSES]].to_numpy(),
        CLASSES,
        objective="balanced_accuracy",
    )
    for name, table in validation.items()
}
called = {
    "most likely class": {name: p.argmax(axis=1) for name, p in probabilities.items()},
    "offsets for macro-F1": {name: decisions[name].apply(p) for name, p in probabilities.items()},
    "offsets for balanced accuracy": {name: balanced[name].apply(p) for name, p in probabilities.items()},
}
order = np.argsort(-train_counts)

# %% [markdown]
# ## Which phases are missed
#
# Recall of each phase with its 95 % Wilson interval, three times: by the most likely class; by the run's decision rule, an offset
# of each class chosen for the best macro-F1 on the validation part; and by offsets chosen there for the best balanced accuracy,
# the mean recall of all phases. The interval of the tetragonal phase is wide: few crystals of it are in the test part, and no
# loss can change that.

# %%
figure, panels = plt.subplots(1, 3, figsize=(11, 4), sharex=True, sharey=True)
for axes, (rule, predicted) in zip(panels, called.items(), strict=True):
    for k, name in enumerate(LOSSES):
        for row, c in enumerate(order):
            found = wilson(int((predicted[name][targets == c] == c).sum()), int((targets == c).sum()))
            y = row + 0.17 * (k - 1.5)
            axes.hlines(y, found["low"], found["high"], color=COLOURS[name], linewidth=2, alpha=0.45)
            label = name if row == 0 else None
            axes.plot(found["value"], y, MARKERS[name], color=COLOURS[name], markersize=5, label=label)
    tidy(axes, grid="x", x="recall", title=rule)
    axes.set(xlim=(0, 1.01), ylim=(len(order) - 0.45, -0.55))
    axes.set_yticks(range(len(order)), [f"{CLASSES[c]} ({(targets == c).sum()})" for c in order])
for label, c in zip(panels[0].get_yticklabels(), order, strict=True):
    label.set(color=VERMILLION if minority[c] else INK, weight="bold" if minority[c] else "normal")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# The averages, each with its bootstrap interval over the test crystals. Average precision stands once: no offset changes it.

# %%
shown = {"minority_recall": "minority-phase recall", "macro_f1": "macro-F1"}
rows = {}
for name, p in probabilities.items():
    interval = partial(bootstrap_intervals, targets, p, train_counts=train_counts, resamples=RESAMPLES)
    column = {}
    for metric, label in shown.items():
        for rule, predicted in called.items():
            score = confusion_averages(confusion_matrix(targets, predicted[name], len(CLASSES)), minority)[metric]
            low, high = interval(predicted=predicted[name], ranking=False)[metric]
            column[label, rule] = f"{score:.3f} ({low:.3f}-{high:.3f})"
    score = metrics[name]["minority_average_precision"]
    low, high = metrics[name]["intervals"]["minority_average_precision"]
    column["average precision of minority phases", "any"] = f"{score:.3f} ({low:.3f}-{high:.3f})"
    rows[name] = column
display(pd.DataFrame(rows))

# %% [markdown]
# ## What a threshold cannot change
#
# Precision against recall of the rarest phase, over all thresholds, and where the most likely class (filled) and the run's decision
# rule (open) stand. Where the curves lie on one another, losses differ in where they stand on the curve, not in what
# they know.

# %%
c = CLASSES.index(RAREST)
positive = targets == c
figure, axes = plt.subplots(figsize=(7.5, 4))
for name in LOSSES:
    steps = ranking_steps(positive, probabilities[name][:, c])
    recall, precision = steps.tp / steps.tp[-1], steps.tp / (steps.tp + steps.fp)
    label = f"{name}: {steps.average_precision():.3f}"
    axes.plot(np.append(0, recall), np.append(precision[0], precision), color=COLOURS[name], linewidth=1.6, label=label)
    for predicted, fill in ((called["most likely class"], COLOURS[name]), (called["offsets for macro-F1"], "white")):
        hits, taken = (predicted[name][positive] == c).sum(), (predicted[name] == c).sum()
        if taken:
            look = {"markersize": 8, "markerfacecolor": fill, "markeredgewidth": 1.8, "zorder": 3}
            axes.plot(hits / positive.sum(), hits / taken, MARKERS[name], color=COLOURS[name], **look)
axes.axhline(positive.mean(), color=INK, linewidth=1, linestyle=DOTTED)
axes.annotate(f"prevalence {positive.mean():.3f}", (0.01, positive.mean() + 0.012), fontsize=8)
axes.set(xlim=(0, 1.02), ylim=(0, 1.03))
tidy(
    axes,
    grid="both",
    x=f"recall of {RAREST}",
    y="precision",
    title="filled: most likely class; open: offsets for macro-F1",
)
axes.legend(
    title="average precision", frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), alignment="left"
)
plt.show()

# %% [markdown]
# ## What the missed ones are taken for

# %%
compared = ("cross-entropy", "spread, reweighting")
figure, panels = plt.subplots(1, 2, figsize=(10, 4.1), sharey=True)
for axes, name in zip(panels, compared, strict=True):
    confusion = confusion_matrix(targets, called["most likely class"][name], len(CLASSES))[np.ix_(order, order)]
    share = confusion / confusion.sum(axis=1, keepdims=True)
    axes.imshow(share, cmap=SHARES, vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(confusion):
        text = f"{count}\n{share[i, j]:.0%}" if count else "0"
        axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color="white" if share[i, j] > 0.55 else INK)
    axes.set_xticks(range(len(order)), [CLASSES[c] for c in order], rotation=30, ha="right", fontsize=9)
    axes.set_yticks(range(len(order)), [CLASSES[c] for c in order], fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(name, loc="left", fontsize=10)
    axes.set_xlabel("predicted", fontsize=9)
panels[0].set_ylabel("true phase", fontsize=9)
plt.show()

# %% [markdown]
# ## Why they are missed
#
# Phases of perovskites follow the tolerance factor $t$, which says how well A fills its site, and the octahedral factor $\mu$,
# how well B fits between its anions; their ranges overlap, in this data set as in nature. The network sees structures, not
# $t$ and $\mu$: does it fail where these say little?

# %%
samples = read_labelled(config.data)
composition = samples.columns.set_index(pd.Index(samples.ids))[["tolerance_factor", "octahedral_factor"]]
jitter = 0.004 * np.random.default_rng(0).normal(
    size=(len(targets), 2)
)  # crystals of one composition would hide each other
t, mu = (composition.loc[tests["cross-entropy"]["id"]].to_numpy() + jitter).T
PHASE_COLOURS = dict(zip(CLASSES, (GREY, BLUE, GREEN, PURPLE, VERMILLION), strict=False))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), sharex=True, sharey=True)
for k in order:
    of = targets == k
    left.scatter(t[of], mu[of], s=12, color=PHASE_COLOURS[CLASSES[k]], alpha=0.65, linewidth=0, label=CLASSES[k])
predicted = called["most likely class"]["cross-entropy"]
missed = minority[targets] & (predicted != targets)
right.scatter(t, mu, s=8, color=PALE, linewidth=0)
for k in order:
    for marker, true in zip("^sD", np.flatnonzero(minority), strict=False):
        of = missed & (predicted == k) & (targets == true)
        right.scatter(t[of], mu[of], s=30, marker=marker, color=PHASE_COLOURS[CLASSES[k]], linewidth=0, alpha=0.85)
for marker, true in zip("^sD", np.flatnonzero(minority), strict=False):
    right.plot([], [], marker, color=INK, label=f"true: {CLASSES[true]}")
tidy(left, grid="both", x="tolerance factor t", y="octahedral factor µ", title="test part, by true phase")
tidy(right, grid="both", x="tolerance factor t", title="missed by cross-entropy, coloured by what they are taken for")
left.legend(frameon=False, fontsize=8, markerscale=1.6)
right.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# The missed crystals lie where phases meet. In numbers: *strangers* of a crystal is the share of other phases among the
# 20 training crystals nearest in $(t, \mu)$, and among the 20 nearest in the network's own embedding. If the first explained all,
# no network could do better; if the second is high where the first is low, the network has thrown something away.

# %%
train_part = reference["split"].to_numpy() == "train"
train_codes = reference["target"].map(CLASSES.index).to_numpy()[train_part]


def strangers(train_points: np.ndarray, test_points: np.ndarray) -> np.ndarray:
    """Share of other phases among the 20 nearest training crystals of each test crystal."""
    distance = ((test_points[:, None, :] - train_points[None, :, :]) ** 2).sum(axis=2)
    near = np.argpartition(distance, 20, axis=1)[:, :20]
    return (train_codes[near] != targets[:, None]).mean(axis=1)


points = composition.loc[reference["id"]].to_numpy()
points = (points - points.mean(axis=0)) / points.std(axis=0)
by_composition = strangers(points[train_part], points[reference["split"] == "test"])
by_embedding = {}
for name, path in runs.items():
    with np.load(path / "embeddings.npz") as kept:
        vectors = pd.DataFrame(kept["embedding"], index=kept["id"]).loc[reference["id"]].to_numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    by_embedding[name] = strangers(vectors[train_part], vectors[reference["split"] == "test"])

rows = []
for k in np.flatnonzero(minority):
    for hit, of in (("found", predicted == targets), ("missed", predicted != targets)):
        of = of & (targets == k)
        near = by_embedding["cross-entropy"][of].mean() if of.any() else np.nan
        far = by_composition[of].mean() if of.any() else np.nan
        rows.append((CLASSES[k], hit, of.sum(), far, near))
columns = ["phase", "by cross-entropy", "crystals", "strangers by (t, µ)", "strangers by embedding"]
pd.DataFrame(rows, columns=columns).set_index(columns[:2]).round(2)

# %% [markdown]
# Recall of the minority phases against strangers by composition, in thirds of the minority crystals from the plainest
# compositions to the most ambiguous:

# %%
of_minority = np.flatnonzero(minority[targets])
thirds = np.array_split(of_minority[np.argsort(by_composition[of_minority], kind="stable")], 3)
figure, axes = plt.subplots(figsize=(7, 3.4))
for k, name in enumerate(LOSSES):
    right_ones = called["most likely class"][name] == targets
    bars = [wilson(int(right_ones[third].sum()), len(third)) for third in thirds]
    x = np.arange(3) + 0.12 * (k - 1.5)
    axes.vlines(x, [b["low"] for b in bars], [b["high"] for b in bars], color=COLOURS[name], linewidth=2, alpha=0.45)
    axes.plot(x, [b["value"] for b in bars], MARKERS[name], color=COLOURS[name], markersize=6, label=name)
axes.set_xticks(
    range(3),
    [
        f"{s}\n{by_composition[third].min():.2f} to {by_composition[third].max():.2f}"
        for s, third in zip(("plain", "in between", "ambiguous"), thirds, strict=True)
    ],
)
axes.set_ylim(0, 1.02)
tidy(
    axes,
    grid="y",
    y="recall of minority phases",
    x="strangers by composition",
    title="most likely class, 95 % Wilson intervals",
)
axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## What each loss changes
#
# Differences from cross-entropy, *paired*: the test crystals are drawn anew inside each phase, the same draw for both losses, so
# that what is hard for both cancels. This says how far a difference hangs on which crystals are in the test part. It does not say what
# another seed would give.


# %%
def averages(name: str, drawn: np.ndarray) -> dict[str, float]:
    """Scores of one loss on drawn test crystals."""
    truth = targets[drawn]
    values = {}
    for rule, predicted in called.items():
        of = confusion_averages(confusion_matrix(truth, predicted[name][drawn], len(CLASSES)), minority)
        values |= {f"{label}, {rule}": float(of[metric]) for metric, label in shown.items()}
    ranking = ranking_averages(truth, probabilities[name][drawn], minority)
    return values | {"average precision of minority phases": float(ranking["minority_average_precision"])}


rng = np.random.default_rng(0)
members = [np.flatnonzero(targets == k) for k in range(len(CLASSES)) if (targets == k).any()]
draws = [np.concatenate([rng.choice(of, len(of)) for of in members]) for _ in range(RESAMPLES)]
values = {name: pd.DataFrame([averages(name, drawn) for drawn in draws]) for name in LOSSES}
whole = {name: pd.Series(averages(name, np.arange(len(targets)))) for name in LOSSES}

figure, axes = plt.subplots(figsize=(10, 4.2))
rows = {}
for k, name in enumerate(list(LOSSES)[1:]):
    difference = values[name] - values["cross-entropy"]
    low, high = difference.quantile([0.025, 0.975]).to_numpy()
    gain = whole[name] - whole["cross-entropy"]
    y = np.arange(len(gain)) + 0.22 * (k - 1)
    axes.hlines(y, low, high, color=COLOURS[name], linewidth=2, alpha=0.45)
    axes.plot(gain, y, MARKERS[name], color=COLOURS[name], markersize=6, label=name)
    rows[name] = [f"{g:+.3f} ({a:+.3f} to {b:+.3f})" for g, a, b in zip(gain, low, high, strict=True)]
axes.axvline(0, color=INK, linewidth=1)
axes.set_yticks(range(len(gain)), gain.index)
axes.invert_yaxis()
tidy(axes, grid="x", x="difference from cross-entropy, paired bootstrap 95 % interval")
axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
pd.DataFrame(rows, index=gain.index)

# %% [markdown]
# ## Conclusions
#
# * **Rarity is not the whole reason.** The hexagonal phase is a minority too, and cross-entropy finds all of it. It misses four of five tetragonal
#   crystals and two of five rhombohedral ones, and takes them for cubic, or one for the other.
# * **They are missed where phases share compositions.** Missed crystals have more strangers by $(t, \mu)$ than found ones, and the network puts them
#   among strangers, too: three of four neighbours in its embedding are of another phase. Of the rhombohedral crystals that it finds it has
#   learned more than $(t, \mu)$ say: strangers fall from a half to a quarter.
# * **Logit adjustment and reweighting by spread find far more of them** by the most likely class: +.18 and +.14 of minority-phase recall, with intervals
#   well above 0. Cubic crystals pay for it. The spread needs no class counts for this.
# * **Most of that is convenience.** Offsets chosen on validation give cross-entropy nearly half of it after training. What is left, +.05 and +.06, has
#   intervals that reach below 0, and so has the difference in average precision, +.02. These runs show that the two losses stand at a better
#   operating point without being tuned. They do not show that they rank crystals better.
# * **The magnitude of errors, added with weight .1, did not help** here: it is below cross-entropy by the most likely class, and offsets do not bring it above.
# * **One seed, one split, 10 epochs, 26 tetragonal test crystals.** The intervals know of the last of these only. Before a loss is chosen,
#   `python -m matcard.compare` repeats this over seeds, with the options of every loss tuned alike.
