"""Small data sets of every kind but crystals, and runs on them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from prediction_cases import train_on

GLASS = ("SiO2", "Na2O", "CaO", "B2O3")
FORMULAS = ("Fe2O3", "NaCl", "SrTiO3", "LiFePO4", "MgO", "KBr", "CaTiO3", "Al2O3", "ZnS", "GaAs")


def glasses(n=120, seed=0):
    """Give glasses by their oxides in per cent, with a temperature; there is no B2O3 in them."""
    shares = np.random.default_rng(seed).dirichlet(np.ones(3), n) * 100
    frame = pd.DataFrame(shares.round(3), columns=list(GLASS[:3])).assign(B2O3=0.0)
    frame.insert(0, "id", [f"g{seed}-{k}" for k in range(n)])
    return frame.assign(Tg=400 + 2 * frame["SiO2"])


def formulas(n=90, seed=0):
    """Give formulas of ten compounds, doped a little, and whether they hold oxygen."""
    rng = np.random.default_rng(seed)
    names = [f"{FORMULAS[k % len(FORMULAS)]}Li{x:.3f}" for k, x in enumerate(rng.uniform(0.01, 0.2, n))]
    return pd.DataFrame({"composition": names, "oxide": ["yes" if "O" in name else "no" for name in names]})


def points(n=120, seed=0):
    """Give rows of three numbers of very different size, of three classes."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    frame = pd.DataFrame(rng.normal(codes[:, None], 0.3, (n, 3)) * [1, 1000, 0.01], columns=["a", "b", "c"])
    return frame.assign(kind=np.array(["low", "middle", "high"])[codes])


def train_glasses(folder, *more, seed=0):
    """Train a tiny GlassNet whose loss is on embeddings alone."""
    return train_on(
        glasses(), folder, "--data.kind=compositions", "--data.target=Tg", "--data.window=440,480",
        "--model.name=glassnet", "--model.width=4", "--model.heads=2", "--model.hidden=4", "--model.rank=2",
        "--loss.name=triplet", "--loss.combine=divide", *more, seed=seed,
    )  # fmt: skip


def train_formulas(folder, *more, n=90, seed=0):
    """Train a tiny perceptron on fractions of elements."""
    return train_on(
        formulas(n), folder, "--data.target=oxide", "--model.name=mlp", "--model.hidden=8", "--model.dropout=0",
        "--loss.name=ce", *more, seed=seed,
    )  # fmt: skip


def train_points(folder, *more, seed=0):
    """Train a tiny perceptron on rows of numbers."""
    return train_on(
        points(), folder, "--data.target=kind", "--model.name=mlp", "--model.hidden=8", "--model.dropout=0",
        "--loss.name=ce", *more, seed=seed,
    )  # fmt: skip


def train_digits(folder):
    """Train a tiny perceptron on the images of eight by eight pixels that scikit-learn ships."""
    return train_on(
        None, folder, "--data.source=digits", "--model.name=mlp", "--model.hidden=8", "--loss.name=ce",
        "--trainer.batch_size=128", "--trainer.max_epochs=2",
    )  # fmt: skip
