"""Checkpoints: written whole or not at all, read with a message where they are damaged."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from matcard.errors import InputError
from matcard.files import written_whole

if TYPE_CHECKING:
    from os import PathLike

    from lightning.pytorch.callbacks import Callback

    from matcard.training.rundir import RunDir


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there.

    Lightning writes to the system's temporary folder and copies from there, which a kill or a full disk cuts short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint; the old one stays where that fails."""
        # By way of memory: torch tells of a full disk as a broken archive, a plain write as what it is.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with written_whole(Path(path)) as beside:
            beside.write_bytes(buffer.getbuffer())


class EpochCheckpoint(ModelCheckpoint):
    """Lightning's, which forgets the best score of a run whose directory was moved or copied."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state up, with its files where the run lies now."""

        def moved(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {name: moved(value) for name, value in state_dict.items() if name.endswith("_path")}
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


def epoch_checkpoints(run: RunDir, monitor: str, mode: str) -> list[Callback]:
    """Make the callbacks that keep the best epoch, and after it the last one, whatever its metric.

    ModelCheckpoint's own `save_last` follows the best since Lightning 2.6.
    """
    ended: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    return [
        EpochCheckpoint(run.checkpoints, filename=run.best.stem, monitor=monitor, mode=mode, **ended),
        EpochCheckpoint(run.checkpoints, filename=run.last.stem, **ended),
    ]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        InputError: a damaged file.
    """
    content = path.read_bytes()
    try:
        return dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
    except (RuntimeError, EOFError, KeyError, ValueError, OSError, pickle.UnpicklingError) as error:
        advice = "delete it to begin at best.ckpt, or both to begin anew" if path.stem == "last" else "train again"
        raise InputError(f"{path} is damaged ({type(error).__name__}): copy it again, or {advice}") from error


def checkpoint_to_resume(run: RunDir) -> tuple[Path | None, str]:
    """Choose the checkpoint that a begun run goes on from, and say which; None where it begins at its first epoch.

    Raises:
        InputError: a damaged file.
    """
    for path in (run.last, run.best):
        if path.is_file():
            epoch = int(read_checkpoint(path)["epoch"]) + 1
            lost = "" if path == run.last else f"{run.last} is missing: "
            return path, f"{lost}goes on after epoch {epoch}" + (f", by {path}; later epochs are lost" if lost else "")
    if run.metrics.is_file():
        return None, f"{run.checkpoints} has no checkpoint: begins anew, and writes {run.metrics} over"
    return None, ""
