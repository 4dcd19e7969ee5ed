"""What the texts say can be done: their Python runs, their options and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from matcard.losses.registry import LOSSES
from matcard.models.registry import MODELS
from matcard.training.config import option_types
from matcard.training.options import Config
from matcard.training.study.options import StudyOptions

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ["README.md", "CONTRIBUTING.md", "docs/losses.md", "benchmarks/README.md"]
# The last is of benchmarks/every_loss.py.
OTHER_FLAGS = {"--config", "--help", "--resume", "--epochs", "--prior", "--calibrated", "--array", "--gres", "--wrap"}


@pytest.mark.parametrize("name", TEXTS)
def test_python_blocks_run(name):
    for code in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL):
        exec(compile(code, name, "exec"), {})


@pytest.mark.parametrize("name", ["README.md", "docs/losses.md"])
def test_options_exist(name):
    known = OTHER_FLAGS | {f"--{option}" for option, _ in option_types(StudyOptions, {})}
    for model in MODELS.values():
        for loss in LOSSES.values():
            known |= {
                f"--{option}" for option, _ in option_types(Config, {"loss": loss.options, "model": model.options})
            }
    named = set(re.findall(r"(?<![\w-])--[a-z][\w.]*", (ROOT / name).read_text()))
    assert named <= known, named - known


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
        assert ((ROOT / name).parent / target).exists(), target


@pytest.mark.parametrize("name", TEXTS)
def test_commands_name_modules_and_scripts_that_exist(name):
    text = (ROOT / name).read_text()
    for module in re.findall(r"python -m (matcard[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for script in re.findall(r"python (\w[\w/]*\.py)", text):
        assert (ROOT / script).is_file(), script
