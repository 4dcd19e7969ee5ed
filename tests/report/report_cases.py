"""Finished runs without any training: the files that a run leaves, made of drawn predictions and small crystals."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import yaml

from matcard.crystals.crystals import Crystals
from matcard.data.options import DataOptions
from matcard.evaluation.calibration import Calibration
from matcard.evaluation.decision import by_offsets
from matcard.evaluation.scoring import scored
from matcard.files import to_json
from matcard.training.config import config_to_dict
from matcard.training.options import Config

if TYPE_CHECKING:
    from pathlib import Path

ELEMENTS = ["Na", "K", "Cl", "Br", "O", "S", "Ti", "Fe", "La", "U", "H"]
NASTY = ["<b>&amp;</b>", "quote\" and 'tick'", "größer ≥ 3 Å", "</script><script>alert(1)</script>", "$x_1$ {{ x }}"]


def write_table(path: Path, names: list[str], classes: list[str], seed: int = 0) -> None:
    """Write a table of crystals of two to four sites."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, label in zip(names, classes, strict=True):
        sites = int(rng.integers(2, 5))
        rows.append(
            {
                "material_id": name,
                "kind": label,
                "lattice_abc_angles": [4.0, 4.0, 4.0 + float(rng.integers(0, 2)), 90.0, 90.0, 90.0],
                "species": rng.choice(ELEMENTS, sites).tolist(),
                "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0.5, 0.5]][:sites],
            }
        )
    frame = pd.DataFrame(rows)
    frame["frac_coords"] = [np.ravel(value).tolist() for value in frame["frac_coords"]]
    frame.to_parquet(path)


def finished_run(
    folder: Path,
    num_classes: int = 3,
    n: int = 240,
    *,
    names: list[str] | None = None,
    seed: int = 0,
    loss: str = "",
) -> Path:
    """Write the directory of a finished run, and its source beside it."""
    rng = np.random.default_rng(seed)
    names = names or [f"phase {c}" for c in range(num_classes)]
    shares = 0.6 ** np.arange(num_classes)
    targets = np.concatenate([np.arange(num_classes)] * 3 + [rng.choice(num_classes, n, p=shares / shares.sum())])
    split = np.array(["train", "val", "test"], dtype=object)[rng.choice(3, len(targets), p=[0.5, 0.2, 0.3])]
    split[: 3 * num_classes] = np.repeat(["train", "val", "test"], num_classes)
    logits = rng.normal(size=(len(targets), num_classes)) + np.log(shares)
    logits[np.arange(len(targets)), targets] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = [f"id-{k}" if k % 7 else f'<id> & "{k}" ü' for k in range(len(targets))]
    classes = [names[c] for c in targets]
    folder.mkdir(parents=True)
    source = folder.parent / f"{folder.name}.parquet"
    write_table(source, ids, classes)
    config = Config(data=DataOptions(source=str(source), target="kind", jobs=1))
    values = config_to_dict(replace(config, name="test"))
    if loss:
        values["loss"] = {"name": loss}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    parts = {part: [name for name, s in zip(ids, split, strict=True) if s == part] for part in ("train", "val", "test")}
    (folder / "split.json").write_text(json.dumps({"kind": "formula", "seed": 0, **parts}), encoding="utf-8")
    predicted = [names[c] for c in probabilities.argmax(axis=1)]
    frame = pd.DataFrame({"id": ids, "split": split, "target": classes, "predicted": predicted})
    frame = pd.concat([frame, pd.DataFrame(probabilities, columns=[f"prob_{name}" for name in names])], axis=1)
    frame.to_parquet(folder / "predictions.parquet")
    np.savez(
        folder / "embeddings.npz", id=np.array(ids), split=split.astype(str), target=targets, total=len(ids),
        embedding=(logits @ rng.normal(size=(num_classes, 8))).astype(np.float32),
    )  # fmt: skip
    decision = by_offsets("best macro_f1 on validation", names, np.linspace(0, 0.8, num_classes))
    to_json(decision.to_dict(), folder / "decision.json")
    test = split == "test"
    metrics = scored(
        targets[test], probabilities[test], train_counts=np.bincount(targets[split == "train"], minlength=num_classes),
        decision=decision, calibration=Calibration(1.2),
    )  # fmt: skip
    to_json(metrics, folder / "test_metrics.json")
    logged = ["epoch", "train_loss", "val_macro_f1", "val_log_loss", "val_minority_recall"]
    epochs = [[0, 1.2, 0.3, 1.1, 0.1], [1, 0.9, 0.5, 0.9, "nan"], [2, 0.8, 0.4, 1.0, 0.2]]
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(logged)
        writer.writerows(epochs)
    left_out = pd.DataFrame(
        {"id": ["x<1>", "y"], "where": ["a & b, row 3", "row 4"], "reason": ["sites overlap", "kind is missing"],
         "class": [names[0], ""]}
    )  # fmt: skip
    left_out.to_csv(folder / "left_out.csv", index=False)
    to_json(
        {
            "python": "3.12",
            "packages": {"torch": "2.9", "gone": None},
            "git_commit": None,
            "command": ["train.py", "a b"],
        },
        folder / "environment.json",
    )
    return folder


def crystals(*lattices, numbers=(11, 17), frac=((0, 0, 0), (0.5, 0.5, 0.5))):
    """Give crystals of equal sites in different cells."""
    n, s = len(lattices), len(numbers)
    return Crystals(
        np.array([f"c{i}" for i in range(n)], dtype=object), np.array(lattices, dtype=float), np.arange(n + 1) * s,
        np.tile(np.array(numbers, dtype=np.uint8), n), np.tile(np.array(frac, dtype=float), (n, 1)),
    )  # fmt: skip
