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
# # The geometry of the losses
#
# Magnitude and spread count the points of a finite metric space that are *distinct* at a scale $t$. This notebook shows what
# that means before any crystal is involved: how the count grows with $t$, which points carry it, what a repeated mistake
# costs, why two classes collapse, and which class pulls at the weights while a network trains. It needs no data and runs in
# about a minute on a laptop.

# %%
import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from matcard.errors import MatcardWarning
from matcard.evaluation.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, tidy
from matcard.invariants import effective_dimension, magnitude, magnitude_profile, spread, weighting
from matcard.losses import MagnitudeLoss, SpreadLoss, build_loss

SMALL = "MATCARD_NOTEBOOK_SMALL" in os.environ  # the tests' quick pass
GRID, EPOCHS = ((4, 5), 2) if SMALL else ((25, 33), 40)

warnings.simplefilter("ignore", MatcardWarning)  # the collapse that is shown below
torch.manual_seed(0)
plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True})

# %% [markdown]
# ## How the count grows with the scale
#
# Three sets of 200 points: two tight clusters, a circle, a disc. At a small scale each looks like one point; at a large one
# like 200. In between, the slope of $\log |tX|$ against $\log t$ is an effective dimension: the clusters rest at 2 points, the
# circle grows like a line, and the disc faster, though 200 points are too few to show the 2 of a surface.

# %%
n = 200
angle = torch.rand(n) * 2 * torch.pi
radius = torch.rand(n).sqrt()
centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).repeat_interleave(n // 2, 0)
sets = {
    "two clusters": centres + 0.001 * torch.randn(n, 2),
    "circle": torch.stack([angle.cos(), angle.sin()], 1),
    "disc": torch.stack([radius * angle.cos(), radius * angle.sin()], 1),
}
scales = torch.logspace(-2, 4, 60)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
for (name, points), colour in zip(sets.items(), (BLUE, VERMILLION, GREEN), strict=True):
    left.loglog(scales, magnitude_profile(points, scales), color=colour, label=name)
    right.semilogx(scales, effective_dimension(points, scales), color=colour, label=name)
tidy(left, grid="both", x="scale t", y="magnitude |tX|", title="Magnitude function")
tidy(right, grid="both", x="scale t", y="d log|tX| / d log t", title="Effective dimension")
left.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Which points carry the count
#
# The magnitude is the sum of the weighting. Points of a crowd share one weight between them, a lone point has a weight near 1,
# and a point wedged between others can have a negative one. The spread gives each point the inverse of its mean similarity to
# the rest instead, which is always positive: that is why matcard clips the one and not the other when it makes sample weights
# of them.

# %%
crowd = torch.cat([0.25 * torch.randn(40, 2), torch.tensor([[2.0, 1.5], [-1.8, 1.6], [1.5, -1.7]])])
scale = 3.0
weights = {
    f"weighting, sum = magnitude = {magnitude(crowd, scale):.1f}": weighting(crowd, scale),
    f"1 / row sum, sum = spread = {spread(crowd, scale):.1f}": 1 / torch.exp(-scale * torch.cdist(crowd, crowd)).sum(1),
}
figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True, sharey=True)
for axes, (name, weight) in zip(panels, weights.items(), strict=True):
    colour = np.where(weight > 0, BLUE, VERMILLION)
    axes.scatter(*crowd.T, s=20 + 300 * weight.abs(), c=colour, alpha=0.6, linewidth=0)
    tidy(axes, grid="both", title=name)
    axes.set_aspect("equal")
plt.show()
print(f"{sum(weights[next(iter(weights))] < 0)} weights of 43 are negative (orange)")

# %% [markdown]
# ## What a repeated mistake costs
#
# A batch holds $n$ copies of one wrong prediction and a single wrong prediction of another class; the rest is right. Summed
# cross-entropy grows in proportion to $n$. The magnitude does not notice the copies at all: the two mistakes count as two
# whatever $n$ is. The spread falls towards the share of the crowd, which makes the crowd *cheaper* as it grows.

# %%
copies = np.unique(np.logspace(0, 3, 25).astype(int))
wrong = torch.tensor([[4.0, 0.0, 0.0], [0.0, 0.0, 4.0]])
losses = {
    "summed cross-entropy": (build_loss("cross_entropy"), GREY),
    "magnitude, t = 3": (MagnitudeLoss(scale=3.0), BLUE),
    "spread, t = 3": (SpreadLoss(scale=3.0), VERMILLION),
}
figure, axes = plt.subplots(figsize=(6.5, 3.6))
for name, (loss, colour) in losses.items():
    values = []
    for k in copies:
        logits = torch.cat([wrong[:1].repeat(k, 1), wrong[1:]])
        targets = torch.tensor([1] * k + [0])
        value = loss(logits, targets).item()
        values.append(value * (k + 1) if "summed" in name else value)
    axes.loglog(copies, np.array(values) / values[0], color=colour, label=name)
tidy(axes, grid="both", x="copies of the mistake", y="loss / loss of one copy", title="A repeated mistake")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Why two classes collapse
#
# With two classes every error is $(a, -a)$: the errors lie on a line, and on a line the magnitude is about the *range* of the
# errors. A predictor that gives everybody the same probability $p$ of the rare class makes errors at two places only, $-p$ for the
# common class and $1 - p$ for the rare one, whatever the number of crystals. One that tries, and spreads its probabilities,
# makes errors everywhere in between, and pays for it. Below: 1,000 crystals, 10 % rare, scored by a classifier whose two classes overlap;
# its logit is (sharpness x score + bias). The star is the best point of each loss.

# %%
generator = torch.Generator().manual_seed(1)
targets = (torch.arange(1000) < 100).long()
score = 2.0 * targets + torch.randn(1000, generator=generator) - 1.0
sharpness, bias = torch.linspace(0, 3, GRID[0]), torch.linspace(-8, 4, GRID[1])


def landscape(loss: torch.nn.Module) -> np.ndarray:
    """Value of a loss over sharpness and bias."""
    rows = []
    for a in sharpness:
        logit = [a * score + b for b in bias]
        rows.append([loss(torch.stack([torch.zeros(1000), z], 1), targets).item() for z in logit])
    return np.array(rows)


def recall_at(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """Recall of the rare and of the common class."""
    rare = a * score + b > 0
    return rare[targets == 1].float().mean().item(), (~rare)[targets == 0].float().mean().item()


figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True)
shown = {"cross-entropy": build_loss("cross_entropy"), "magnitude, t = 1": MagnitudeLoss(scale=1.0)}
shown["magnitude, t = 10"] = MagnitudeLoss(scale=10.0)
found = {}
for axes, (name, loss) in zip(panels, shown.items(), strict=True):
    values = landscape(loss)
    axes.contourf(bias, sharpness, np.log(values), levels=20, cmap="Blues_r")
    i, j = np.unravel_index(values.argmin(), values.shape)
    axes.plot(bias[j], sharpness[i], "*", color=ORANGE, markersize=14, clip_on=False)
    found[name] = recall_at(sharpness[i], bias[j])
    tidy(axes, grid="both", x="bias", y="sharpness" if axes is panels[0] else None, title=name)
plt.show()
pd.DataFrame(found, index=["recall of the rare class", "recall of the common class"]).T.round(2)

# %% [markdown]
# The magnitude's best point has next to no sharpness: it ignores the score, and every crystal falls to one class. This is
# why `--loss.name error --loss.combine replace` warns with two classes, and why the default of matcard keeps a per-sample
# loss and uses the geometry for weights.

# %% [markdown]
# ## Who pulls at the weights
#
# A small network on scikit-learn's digits, the last five classes cut twenty-fold. After every epoch the gradient of each class's
# part of the loss with respect to the logits is measured: its share, rare classes against common ones. They are 4.8 % of the
# samples.

# %%
digits = load_digits()
x = torch.tensor(digits.data / 16, dtype=torch.float32)
y = torch.tensor(digits.target)
rng = np.random.default_rng(0)
train = np.concatenate([rng.permutation(np.flatnonzero(y == c))[: 130 if c < 5 else 7] for c in range(10)])
test = np.setdiff1d(np.arange(len(y)), train)
counts = torch.bincount(y[train], minlength=10).tolist()

contenders = {
    "cross-entropy": build_loss("cross_entropy"),
    "class weights": build_loss("weighted_cross_entropy", class_counts=counts),
    "magnitude of errors": MagnitudeLoss(scale=1.0),
    "spread of errors": SpreadLoss(scale=1.0),
    "reweighting by spread": build_loss("reweight", invariant="spread", scale=3.0),
}


def run(loss: torch.nn.Module, epochs: int = EPOCHS) -> tuple[list[float], float]:
    """Train, and give the rare classes' share of the gradient per epoch and their recall on the rest."""
    torch.manual_seed(0)
    encode = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32), torch.nn.ReLU())
    head = torch.nn.Linear(32, 10)
    optimizer = torch.optim.Adam([*encode.parameters(), *head.parameters()], lr=3e-3)
    shares = []
    for epoch in range(epochs):
        loss.on_epoch(epoch, epochs)
        pull = torch.zeros(2)
        for batch in torch.tensor(train)[torch.randperm(len(train))].split(128):
            h = encode(x[batch])
            logits = head(h)
            logits.retain_grad()
            optimizer.zero_grad()
            loss(logits, y[batch], h).backward()
            optimizer.step()
            rare = y[batch] >= 5
            size = logits.grad.norm(dim=1)
            pull += torch.stack([size[~rare].sum(), size[rare].sum()])
        shares.append((pull[1] / pull.sum()).item())
    with torch.no_grad():
        predicted = head(encode(x[test])).argmax(1)
    recall = [(predicted[y[test] == c] == c).float().mean().item() for c in range(5, 10)]
    return shares, float(np.mean(recall))


results = {name: run(loss) for name, loss in contenders.items()}

# %%
figure, axes = plt.subplots(figsize=(7, 3.8))
for (name, (shares, _)), colour in zip(results.items(), (GREY, ORANGE, BLUE, VERMILLION, PURPLE), strict=True):
    axes.plot(shares, color=colour, label=name)
axes.axhline(35 / 685, color=GREY, linestyle=":", linewidth=1)
axes.annotate(
    "share of the samples", (EPOCHS - 1, 35 / 685), xytext=(0, 4), textcoords="offset points", ha="right", fontsize=8
)
axes.set_ylim(0, 1)
tidy(axes, grid="both", x="epoch", y="rare classes' share of the gradient", title="Who pulls at the weights")
axes.legend(frameon=False, fontsize=8)
plt.show()
pd.Series({name: recall for name, (_, recall) in results.items()}, name="minority-phase recall").to_frame().round(3)

# %% [markdown]
# One seed and no tuning: read the curves, not the ranking. Cross-entropy begins with the rare classes' share of the samples and
# comes to them late, once the common classes are learned. Class weights begin at one half by decree. The magnitude of the
# errors and the reweighting begin in between, without being told any class counts, and end where class weights do. The spread
# of the errors is the warning: a crowd makes its own mistake cheap, the rare classes pull least of all, and here none of them
# is found.
