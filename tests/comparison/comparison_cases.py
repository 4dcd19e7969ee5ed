"""Small experiments for the tests of comparisons."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from rich.console import Console

from matcard.comparison.options import CompareOptions
from matcard.comparison.results import METRICS
from matcard.comparison.run import compare

if TYPE_CHECKING:
    from pathlib import Path

TASK: dict[str, Any] = {
    "config": "synthetic",
    "data": {"source": "make_classification", "synthetic": {"samples": 300}},
}
SMALL: dict[str, Any] = {
    "title": "A small comparison",
    "tasks": {"points": TASK},
    "training": {"trainer": {"max_epochs": 1, "accelerator": "cpu"}},
    "losses": ["ce", "magnitude"],
    "reference": "ce",
    "space": {"optimizer.lr": {"type": "float", "low": 0.001, "high": 1.0, "log": True}},
    "trials": 2,
    "tune_on": "first-seed",
    "seeds": 2,
    "metrics": ["macro_f1", "average_precision"],
}


def write_experiment(folder: Path, **changes: Any) -> Path:
    """Write the small experiment with some entries changed."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}), encoding="utf-8")
    return path


def options(path: Path, **changes: Any) -> CompareOptions:
    """Give options of a comparison beside the experiment's file."""
    return CompareOptions(**{"config": str(path), "folder": str(path.parent / "comparison"), **changes})


def run(opts: CompareOptions) -> tuple[Path, str]:
    """Run a comparison; gives its folder and what was printed."""
    console = Console(file=io.StringIO(), width=140)
    folder = compare(opts, console=console, command="python -m matcard.compare")
    return folder, console.file.getvalue()


def results(folder: Path) -> pd.DataFrame:
    """Read the runs of a comparison."""
    return pd.read_parquet(folder / "results.parquet")


def scores(value: float) -> dict[str, Any]:
    """Give metrics as a run records them, all of one value."""
    of_groups = {"medium_shot_recall": value / 2, "few_shot_recall": None}
    return {**dict.fromkeys(METRICS, value), **of_groups, "recall": {}, "shots": {}}


def run_of(seed: int, value: float, *, tested: bool) -> dict[str, Any]:
    """Give the record of a run with all metrics of one value."""
    both = {"argmax": scores(value), "decision": scores(value + 0.01), "ranking": {}}
    parts = {"val": both, **({"test": both} if tested else {})}
    sizes = {"train": 70, "val": 15, "test": 15}
    return {"seed": seed, "best_epoch": 0, "sizes": sizes, "data_sha256": "0", "seconds": 0.1, **parts}
