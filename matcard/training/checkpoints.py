"""Checkpoints that are there whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from matcard.files import written_whole

if TYPE_CHECKING:
    from os import PathLike


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
