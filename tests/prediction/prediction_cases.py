"""Sixty binary crystals of three prototypes, made by ASE, and how they are written in every kind of source."""

from __future__ import annotations

import os
import warnings
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
from ase.build import bulk

from matcard.errors import MatcardWarning

KINDS = ("cesiumchloride", "rocksalt", "zincblende")


def crystals():
    """Give 60 `ase.Atoms` with `id` and `kind` in their `info`."""
    rng = np.random.default_rng(0)
    frames = []
    for k, (cation, anion) in enumerate(product(("Li", "Na", "K", "Rb", "Cs", "Ag"), ("F", "Cl", "Br", "I", "O", "S",
                                                                                  "Se", "Te", "N", "P"))):  # fmt: skip
        kind = "rocksalt" if k % 2 else "cesiumchloride" if k % 6 else "zincblende"
        low, high = (3.3, 3.8) if kind == "cesiumchloride" else (5.2, 6.0) if kind == "rocksalt" else (6.2, 7.0)
        atoms = bulk(f"{cation}{anion}", kind, a=rng.uniform(low, high))
        atoms.info = {"id": f"c{k}", "kind": kind}
        frames.append(atoms)
    return frames


def structure(atoms):
    """Give the same crystal as a pymatgen Structure."""
    from pymatgen.core import Structure

    return Structure(np.array(atoms.cell), atoms.get_chemical_symbols(), atoms.get_scaled_positions())


def as_row(atoms):
    """Give the row of a table: id, pymatgen dict, kind."""
    return {"id": atoms.info["id"], "structure": structure(atoms).as_dict(), "kind": atoms.info["kind"]}


def train_small(source, folder, *more, seed):
    """Train a narrow network on crystals for a few epochs."""
    return trained_run(
        f"--data.source={source}", "--data.target=kind", "--data.jobs=1", "--trainer.batch_size=16",
        "--trainer.max_epochs=12", "--trainer.accelerator=cpu", "--model.width=8", "--model.hidden=8",
        "--model.convolutions=1", "--model.dropout=0",
        "--model.atom_features=learned", "--optimizer.lr=0.03", "--loss.name=ce", f"--seed={seed}",
        f"--run_dir={folder}", "--report=false", *more, cache=folder.parent / "cache",
    )  # fmt: skip


def train_on(frame, folder, *more, seed=0):
    """Train on a table, or on what `more` says, for a few epochs."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = []
    if frame is not None:
        source = folder.parent / f"{folder.name}.csv"
        frame.to_csv(source, index=False)
        words = [f"--data.source={source}"]
    return trained_run(
        *words, "--trainer.batch_size=32", "--trainer.max_epochs=4", "--trainer.accelerator=cpu", "--optimizer.lr=0.03",
        f"--seed={seed}", f"--run_dir={folder}", "--report=false", *more, cache=folder.parent / "cache",
    )  # fmt: skip


def undrawn():
    """Leave figures empty that nobody looks at: to draw them takes longer than the rest of a small run."""
    return patch("matplotlib.figure.Figure.savefig", lambda figure, path, **more: Path(path).write_bytes(b""))


def trained_run(*argv, cache):
    """Carry a run out quietly, and give its directory."""
    from matcard.cli import make_console
    from matcard.training.config import parse_config
    from matcard.training.run import train

    before = os.environ.pop("MATCARD_RUN_DIR", None)
    os.environ["MATCARD_CACHE"] = str(cache)
    try:
        console = make_console()
        console.quiet = True
        with warnings.catch_warnings(), undrawn():
            warnings.simplefilter("ignore", MatcardWarning)  # of so few epochs some predict one class
            return train(parse_config(list(argv), prog="train", description=""), console).path
    finally:
        os.environ.pop("MATCARD_RUN_DIR", None)
        if before is not None:
            os.environ["MATCARD_RUN_DIR"] = before
