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
# # Your own crystals
#
# From a folder of CIF files with labels to a trained model, a report, and predictions on new files that say how far they are to be
# trusted. The folder is made here, so that the notebook runs anywhere; with yours in `my_crystals`, begin at *Train*.

# %%
import warnings

# What libraries say to programmers: tqdm without ipywidgets, torch to lightning, torch-geometric's scripted functions.
for words in ("IProgress not found", "`isinstance.treespec", "`torch.jit.script"):
    warnings.filterwarnings("ignore", words)

# %%
import os
import shlex
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from ase.io import read as read_ase
from IPython.display import SVG, display
from pymatgen.core import Structure

from matcard import load_run
from matcard.data.perovskites import perovskite_phases
from matcard.evaluation.style import BLUE, GREY, VERMILLION, tidy
from matcard.files import read_json
from matcard.predict import main as predict_command
from matcard.report.run import write_report
from matcard.training.config import parse_config
from matcard.training.run import train

SMALL = "MATCARD_NOTEBOOK_SMALL" in os.environ  # the tests' quick pass
CRYSTALS, EPOCHS = (120, 1) if SMALL else (600, 30)

plt.rcParams.update({"figure.dpi": 95, "figure.constrained_layout.use": True})
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)

# %% [markdown]
# ## A folder of CIF files
#
# What matcard reads is what the original CGCNN read: structure files, and a table `id_prop.csv` with the name of each (without
# its ending) and its label. Other columns may follow under a header line.

# %%
source = perovskite_phases(seed=1)
rng = np.random.default_rng(0)
formulas = source.columns["formula"].to_numpy()
later = np.isin(formulas, rng.permutation(np.unique(formulas))[:40])  # compositions that training does not see
training = rng.permutation(np.flatnonzero(~later))[:CRYSTALS]
fresh = rng.permutation(np.flatnonzero(later))[:40]

mine = Path("my_crystals")
mine.mkdir()
for i in training:
    source.structure(i).to(str(mine / f"{source.ids[i]}.cif"))
labels = pd.DataFrame({"id": source.ids, "phase": source.columns["phase"]}).iloc[training]
labels.to_csv(mine / "id_prop.csv", index=False)

print(*(mine / "id_prop.csv").read_text().splitlines()[:4], "...", sep="\n")
print(f"\n{len(list(mine.glob('*.cif')))} CIF files; {source.ids[training[0]]}.cif begins")
print(*(mine / f"{source.ids[training[0]]}.cif").read_text().splitlines()[:8], sep="\n")

# %% [markdown]
# ## Train
#
# In a terminal this is `python -m matcard.train --data.source my_crystals --data.target phase`. The same from Python: options are parsed
# with the words of the command line, so that what is tried here can be copied there. The class table comes first: which classes there
# are, how rare each is, and how many files were left out.

# %%
options = f"""
    --data.source my_crystals --data.target phase --run_dir runs/first
    --trainer.max_epochs {EPOCHS} --trainer.batch_size 32
"""
config = parse_config(options.split(), prog="notebook", description="")
run_dir = train(config)
report = write_report(run_dir.path)

# %% [markdown]
# That was one look at the test part. Recall per class is what to read: with so few crystals of the rare phase in the test part its
# interval spans most of the scale, and the honest word on it is "not known yet". The figure is among those of the report:

# %%
display(SVG(run_dir.path / "figures" / "recall.svg"))
print(*sorted(path.name for path in run_dir.path.iterdir()), sep="\n")

# %% [markdown]
# `report.html` is the run on one page, with nothing to be loaded from elsewhere: open it in a browser, send it by mail. It shows what
# was trained on what, the curves, which crystals were missed (drawn, to be turned with the mouse), recall by element, and the map of
# embeddings. `python -m matcard.report runs/first` writes it again.

# %%
metrics = read_json(run_dir.test_metrics)
print(
    f"macro-F1 {metrics['macro_f1']:.2f}, minority-phase recall {metrics['minority_recall']:.2f} at the most likely class;"
)
chosen_rule = metrics["at_decision"]
print(
    f"macro-F1 {chosen_rule['macro_f1']:.2f}, minority-phase recall {chosen_rule['minority_recall']:.2f} by {chosen_rule['rule']}"
)

# %% [markdown]
# ## Predict from Python
#
# `load_run` reads the run's `model` folder, weights as safetensors and the rest as JSON: nothing in it is executed, and the folder can be
# sent to someone else without the rest. It takes pymatgen and ASE objects, mixed as they come.

# %%
run = load_run("runs/first")
new = Path("new")
new.mkdir()
for i in fresh:
    source.structure(i).to(str(new / f"{source.ids[i]}.cif"))

files = sorted(new.glob("*.cif"))
structures = [Structure.from_file(files[0]), read_ase(files[1])]
table = run.predict(structures, ids=[path.stem for path in files[:2]])
display(table.drop(columns=["source", "error"]).round(3).T)

# %% [markdown]
# ## Predict from the command line
#
# A real folder has files that are broken, and crystals that are like nothing in training. One of each is added: a CIF that was cut off
# while it was copied, and a compound of protactinium, which no crystal of the training part contains.

# %%
(new / "cut_off.cif").write_text("\n".join(files[2].read_text().splitlines()[:10]))
stranger = Structure.from_file(files[3])
stranger.replace_species({stranger.composition.elements[0].symbol: "Pa"})
_ = stranger.to(str(new / "unseen_element.cif"))

# %%
# In a terminal: python -m matcard.predict runs/first 'new/*.cif' -o predicted.csv
predict_command(shlex.split("runs/first 'new/*.cif' -o predicted.csv --jobs 1"))

# %% [markdown]
# A row for each file, in order, none lost. The file that could not be read has the reason in `error` and no prediction; the
# crystal with a new element has a prediction and a warning beside it: `applicable` is false, and `reason` says why.

# %%
predicted = pd.read_csv("predicted.csv")
print(f"{len(list(new.glob('*.cif')))} files, {len(predicted)} rows")
odd = predicted[predicted["error"].notna() | (predicted["applicable"] != True)]  # noqa: E712
with pd.option_context("display.max_colwidth", None):
    display(odd[["id", "predicted", "applicable", "novelty", "reason", "error"]].set_index("id").round(2).fillna(""))

# %% [markdown]
# ## How far to trust them
#
# `novelty` is the distance to the nearest training crystal in the network's embedding, over the 99th percentile of the same distance
# within the validation part: above 1 a crystal is unlike what was trained on. The new files do have labels here, so it can be seen
# how probabilities and flags relate to what is right.

# %%
truth = pd.Series(source.columns["phase"].to_numpy(), index=source.ids)
known = predicted[predicted["id"].isin(truth.index)].copy()
known["true"] = truth.loc[known["id"]].to_numpy()
known["confidence"] = known.filter(like="prob_").max(axis=1)
right = known["predicted"] == known["true"]

figure, axes = plt.subplots(figsize=(7, 3.6))
for mask, marker, colour, label in ((right, "o", BLUE, "right"), (~right, "X", VERMILLION, "wrong")):
    axes.plot(known["confidence"][mask], known["novelty"][mask], marker, color=colour, alpha=0.75, label=label)
axes.axhline(1, color=GREY, linewidth=1, linestyle="--")
axes.annotate("unlike the training part above", (0.2, 1), (0, 4), textcoords="offset points", fontsize=8, color=GREY)
axes.set_xlim(0.2, 1.01)
tidy(axes, grid="both", x="probability of the most likely class", y="novelty", title=f"{len(known)} new crystals")
axes.legend(frameon=False, fontsize=8)
plt.show()
print(
    f"{right.sum()} of {len(known)} right; of those with a probability above .8 {right[known['confidence'] > 0.8].mean():.0%}"
)

# %% [markdown]
# Most mistakes come with a middling probability or a high novelty, but not all: one wrong answer stands among the surest. A flag tells what a
# network has not seen, a probability what it cannot tell apart, and neither what it has learned wrongly.
#
# ## Where to go from here
#
# * More crystals of the rare class help more than any loss. Until then `python -m matcard.compare` says whether a loss helps at all, over
#   seeds and with intervals, and `python -m matcard.tune` finds its scale and weight.
# * Several runs (`--seed 1`, `--seed 2`, ...) make an ensemble: `python -m matcard.predict RUN_1 RUN_2 RUN_3 ...` adds the spread over runs.
# * A new labelled set goes to `python -m matcard.evaluate RUN_DIR --data.source NEW`, which says whether its class shares are others.
