"""Whole runs on the small table, in this process and as a command."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from matcard.training.config import parse_config
from matcard.training.module import TrainingModule
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


def interrupted(monkeypatch: pytest.MonkeyPatch, *argv: str) -> None:
    """Begin a run and interrupt it at the end of its second epoch."""

    def stops(module: TrainingModule) -> None:
        if module.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "on_train_epoch_end", stops)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run_here(*argv)


def command(*argv: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "matcard.train", *argv], capture_output=True, text=True, **more)
