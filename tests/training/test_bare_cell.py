"""A cell of training on a machine with torch, torch-geometric and lightning alone, from prepared data."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from matcard.data.prepare import prepare, read_labelled, save_prepared
from matcard.training.config import config_to_dict, parse_config

CELL = '''
import builtins, json, sys
from pathlib import Path

ABSENT = {
    "PIL", "ase", "beartype", "docstring_parser", "filelock", "ijson", "jaxtyping", "joblib", "jsonargparse",
    "matminer", "matplotlib", "monty", "optuna", "pandas", "platformdirs", "pooch", "pyarrow", "pymatgen", "rich",
    "safetensors", "scipy", "sklearn", "spglib", "tensorboard",
}
importing = builtins.__import__


def without(name, globals=None, locals=None, fromlist=(), level=0):
    """Lightning and torchmetrics use some of these where they are installed; matcard must do without."""
    asks = (globals or {}).get("__name__", "")
    if name.partition(".")[0] in ABSENT and asks.partition(".")[0] == "matcard":
        raise ModuleNotFoundError(f"{name} is not on this machine, and {asks} asks for it")
    return importing(name, globals, locals, fromlist, level)


builtins.__import__ = without
sys.modules["tensorboard"] = None  # so that nobody finds it

import yaml

from matcard.cli import make_console
from matcard.data.prepared import open_prepared
from matcard.evaluation.metrics import classification_metrics
from matcard.training.config import config_from_dict
from matcard.training.data import DataModule
from matcard.training.fit import fit
from matcard.training.inference import read_out
from matcard.training.rundir import RunDir

scores = {}
for folder in map(Path, sys.argv[1:]):
    config = config_from_dict(yaml.safe_load((folder / "config.yaml").read_text()))
    data = DataModule(open_prepared(folder / "data"), config.trainer, config.seed)
    run = RunDir(folder / "run")
    module = fit(run, config, data, make_console())
    found = read_out(module, data.eval_dataloader("val")).scores
    metrics = classification_metrics(
        found.targets, found.probabilities, class_names=data.class_names, train_counts=data.class_counts
    )
    scores[folder.name] = metrics["macro_f1"]
    assert run.best.is_file()
    assert run.metrics.is_file()
print(json.dumps(scores))
'''


@pytest.fixture
def cells(small_table, tmp_path):
    common = ["--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--data.jobs=1"]
    argv = {
        "crystals": [f"--data.source={small_table}", "--data.target=kind", "--model.width=8", "--model.hidden=8"],
        "images": ["--config=digits_lt", "--trainer.max_epochs=3"],
    }
    for name, words in argv.items():
        config = parse_config([*common, *words], prog="", description="")
        folder = tmp_path / name
        folder.mkdir()
        save_prepared(prepare(read_labelled(config.data), config.data, seed=config.seed), folder / "data")
        (folder / "config.yaml").write_text(yaml.safe_dump(config_to_dict(config)))
    return [tmp_path / name for name in argv]


def test_a_cell_runs_without_the_chemistry_packages(cells):
    done = subprocess.run(
        [sys.executable, "-c", CELL, *map(str, cells)], capture_output=True, text=True, cwd=cells[0].parent
    )
    assert done.returncode == 0, done.stderr
    assert "crystals/s" in done.stdout
    assert "images/s" in done.stdout
    scores = json.loads(done.stdout.splitlines()[-1])
    assert set(scores) == {"crystals", "images"}
    assert scores["images"] > 0.3, "it has learned"
    for cell in cells:
        assert not (cell / "run" / "tensorboard").exists()
