"""Whole runs on the small table, in this process and as a command."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from matcard.training.config import parse_config
from matcard.training.run import train

if TYPE_CHECKING:
    from pathlib import Path


def options(table: Path, run: Path, *more: str) -> list[str]:
    return [
        f"--data.source={table}", "--data.target=kind", "--data.jobs=1", "--trainer.batch_size=16",
        "--trainer.max_epochs=2", "--model.width=8", "--model.hidden=8", "--trainer.accelerator=cpu",
        f"--run_dir={run}", "--report=false", *more,
    ]  # fmt: skip


def run_here(*argv: str):
    return train(parse_config(argv, prog="python -m matcard.train", description=""))


def command(*argv: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "matcard.train", *argv], capture_output=True, text=True, **more)
